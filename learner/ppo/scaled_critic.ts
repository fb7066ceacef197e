/**
 * A critic that learns returns at mean 0 and deviation 1, and tells values in units of reward to whoever
 * asks from outside: the scale lives in its last layer (PopArt: van Hasselt et al., "Learning values
 * across many orders of magnitude", 2016).
 *
 * @module
 */

import type { ParameterStore } from "../../common/policy/parameters.ts";
import type { HostTensor } from "../../common/types.ts";
import { rescaleOutput, REWARD_SCALE, type Scale, ValueNormalizer } from "./value_normalizer.ts";

/** Paths of the value head's last layer. */
const KERNEL = "out/kernel";
const BIAS = "out/bias";

/** Keeps a value head at the scale of its returns. The head stays its owner's. */
export class ScaledCritic {
  /** What returns were like. */
  normalizer: ValueNormalizer = new ValueNormalizer();
  readonly #head: ParameterStore;

  /**
   * Nothing seen yet: the head answers in units of reward.
   * @param head The value head.
   */
  constructor(head: ParameterStore) {
    this.#head = head;
  }

  /** What the head's answers are to be multiplied by and shifted by, to be in units of reward. */
  get scale(): Scale {
    return this.normalizer.scale;
  }

  /**
   * See returns. The head's answers, in units of reward, stay what they were but for rounding.
   * @param returns Value targets in units of reward.
   */
  async see(returns: readonly number[]): Promise<void> {
    const before = this.scale;
    this.normalizer.update(returns);
    const [kernel, bias] = await this.#lastLayer();
    const scaled = rescaleOutput({ kernel, bias: bias[0] }, before, this.scale);
    this.#head.assign([
      { name: KERNEL, shape: [kernel.length, 1], data: scaled.kernel },
      { name: BIAS, shape: [1], data: Float32Array.of(scaled.bias) },
    ]);
  }

  /**
   * Let weights answer in units of reward by themselves, as controllers and checkpoints want them.
   * @param weights The head's arrays among others, under these paths with a prefix.
   * @param prefix What stands before the head's paths.
   * @returns The same with another last layer; the head itself stays as it is.
   */
  unscale(weights: readonly HostTensor[], prefix: string): HostTensor[] {
    const data = (path: string) => weights.find(({ name }) => name === prefix + path)!.data;
    const layer = { kernel: data(KERNEL), bias: data(BIAS)[0] };
    const { kernel, bias } = rescaleOutput(layer, this.scale, REWARD_SCALE);
    return weights.map((tensor) => {
      if (tensor.name === prefix + KERNEL) return { ...tensor, data: kernel };
      if (tensor.name === prefix + BIAS) return { ...tensor, data: Float32Array.of(bias) };
      return tensor;
    });
  }

  /** The last layer as it is, at the scale: what an exact resumption needs besides the statistics. */
  async toHost(): Promise<HostTensor[]> {
    const [kernel, bias] = await this.#lastLayer();
    return [
      { name: KERNEL, shape: [kernel.length, 1], data: kernel },
      { name: BIAS, shape: [1], data: bias },
    ];
  }

  /**
   * Continue from a stored state.
   * @param normalizer What had been seen.
   * @param layer What {@link ScaledCritic.toHost} gave.
   * @throws RangeError if the layer is of another head.
   */
  restore(normalizer: ValueNormalizer, layer: readonly HostTensor[]): void {
    this.#head.assign(layer);
    this.normalizer = normalizer;
  }

  #lastLayer(): Promise<Float32Array[]> {
    return Promise.all(
      [KERNEL, BIAS].map(async (path) => Float32Array.from(await this.#head.get(path).data())),
    );
  }
}
