/**
 * The critic on the GPU: `common/policy/value_head.ts` behind the states that decoding has left, so that
 * a chunk comes back with its value.
 *
 * Letters: D width, H width of the hidden layers, n states.
 *
 * @module
 */

import type { HostTensor } from "../types.ts";
import { criticSteps, type EngineModel } from "./engine_model.ts";
import type { GpuBuffers } from "./gpu_buffers.ts";
import type { Dispatch, KernelCache } from "./kernel.ts";
import {
  DENSE_OUTPUTS,
  denseKernel,
  type DenseSize,
  MEAN_THREADS,
  meanStatesKernel,
} from "./wgsl/dense.ts";

/** Its names begin so, which tells them from the backbone's. */
const PREFIX = "value_head/";

const LAYERS = ["dense_0", "dense_1", "out"] as const;

/**
 * Shapes of a model's critic in a checkpoint.
 *
 * @param model Sizes.
 * @returns Shapes by path, which begin with `value_head/`; none if the model has no critic.
 */
export function criticShapes({ gemma, critic }: EngineModel): Map<string, readonly number[]> {
  if (!critic) return new Map();
  const sizes = [gemma.width, critic.hiddenDim, critic.hiddenDim, 1];
  return new Map(LAYERS.flatMap((layer, i) => [
    [`${PREFIX}${layer}/kernel`, [sizes[i], sizes[i + 1]]],
    [`${PREFIX}${layer}/bias`, [sizes[i + 1]]],
  ]));
}

interface Layer {
  readonly size: DenseSize;
  readonly kernel: GPUBuffer;
  readonly bias: GPUBuffer;
  readonly out: GPUBuffer;
}

/** A critic. Its buffers belong to the {@link GpuBuffers} they came from. */
export class EngineCritic {
  /** Shapes of its arrays in a checkpoint, by path. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** `[1]`: the value, once the kernels of {@link plan} have run. */
  readonly value: GPUBuffer;
  readonly #layers: readonly Layer[];
  readonly #mean: GPUBuffer;
  readonly #model: EngineModel;
  readonly #device: GPUDevice;

  /**
   * Make room; nothing is written.
   *
   * @param model Sizes; without a critic its value is 0.
   * @param buffers Owner of the buffers.
   */
  constructor(model: EngineModel, buffers: GpuBuffers) {
    this.#model = model;
    this.#device = buffers.device;
    this.shapes = criticShapes(model);
    const { gemma: { width }, critic } = model;
    this.#mean = buffers.storage("critic mean", 4 * width);
    const sizes = critic ? [width, critic.hiddenDim, critic.hiddenDim, 1] : [];
    this.#layers = sizes.slice(1).map((outputs, i) => ({
      size: { columns: sizes[i], outputs, isActivated: i < LAYERS.length - 1 },
      kernel: buffers.storage(`critic ${LAYERS[i]} kernel`, 4 * sizes[i] * outputs),
      bias: buffers.storage(`critic ${LAYERS[i]} bias`, 4 * outputs),
      out: buffers.storage(`critic ${LAYERS[i]}`, 4 * outputs),
    }));
    this.value = this.#layers.at(-1)?.out ?? buffers.storage("no critic", 4);
  }

  /**
   * Write an array, whole.
   * @param tensor One of {@link shapes}, checked.
   */
  write({ name, data }: HostTensor): void {
    const [layer, kind] = name.slice(PREFIX.length).split("/");
    const { kernel, bias } = this.#layers[LAYERS.findIndex((known) => known === layer)];
    const target = kind === "kernel" ? kernel : bias;
    const { buffer, byteOffset, byteLength } = data;
    this.#device.queue.writeBuffer(target, 0, buffer as ArrayBuffer, byteOffset, byteLength);
  }

  /**
   * Bind its kernels.
   *
   * @param kernels Compiles and binds.
   * @param state The decode state.
   * @param hidden `[n, D]`: states that tokens were predicted from.
   * @returns What computes {@link value}; nothing without a critic.
   * @throws {Error} If the driver refuses a kernel.
   */
  async plan(kernels: KernelCache, state: GPUBuffer, hidden: GPUBuffer): Promise<Dispatch[]> {
    const { gemma: { width }, critic } = this.#model;
    if (!critic) return [];
    const kernel = meanStatesKernel(criticSteps(this.#model), width);
    const groups = Math.ceil(width / MEAN_THREADS);
    const plan = [
      await kernels.bind(kernel, { state, hidden, mean: this.#mean }, () => [groups, 1]),
    ];
    let x = this.#mean;
    for (const { size, kernel: weights, bias, out } of this.#layers) {
      const across = Math.ceil(size.outputs / DENSE_OUTPUTS);
      const bound = { x, weights, bias, out };
      plan.push(await kernels.bind(denseKernel(size), bound, () => [across, 1]));
      x = out;
    }
    return plan;
  }
}
