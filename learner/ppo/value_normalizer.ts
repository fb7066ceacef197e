/**
 * Keeps the critic's targets near mean 0 and deviation 1, whatever the rewards' scale.
 *
 * Exponential moving averages of the returns and of their squares, both divided by the weight that they
 * have gathered so far, as Adam does (the value normalisation of Yu et al., "The Surprising
 * Effectiveness of PPO in Cooperative Multi-Agent Games", 2022, after van Hasselt et al., "Learning
 * values across many orders of magnitude" (PopArt), 2016). {@link rescaleOutput} is PopArt's other
 * half: it keeps the critic's answers where they were when the statistics move.
 *
 * @module
 */

/** All that the normaliser knows: plain float64 numbers, which JSON keeps to the last bit. */
export interface ValueStatistics {
  /** Moving average of returns, not yet divided by `weight`. */
  readonly mean: number;
  /** Moving average of squared returns, likewise. */
  readonly square: number;
  /** What the averages' weights add up to, in [0, 1]. */
  readonly weight: number;
}

/** Mean and deviation of returns. */
export interface Scale {
  /** Mean. */
  readonly mean: number;
  /** Standard deviation, above 0. */
  readonly deviation: number;
}

/**
 * Smallest variance: returns that hardly differ are not blown up into noise. From MAPPO's code.
 */
export const MIN_VARIANCE = 1e-2;

/** Running statistics of returns. Values in a buffer stay in units of reward; the critic's are scaled. */
export class ValueNormalizer {
  readonly #decay: number;
  #statistics: ValueStatistics;

  /**
   * Nothing seen yet, or all that an earlier run has.
   * @param decay What an update leaves of the statistics so far, in [0, 1): 0.99 remembers about a
   *   hundred updates.
   * @param statistics What {@link ValueNormalizer.statistics} gave.
   * @throws RangeError if either cannot be.
   */
  constructor(decay = 0.99, statistics: ValueStatistics = { mean: 0, square: 0, weight: 0 }) {
    if (!(decay >= 0 && decay < 1)) {
      throw new RangeError(`Cannot normalise values: the decay is ${decay}, expected in [0, 1)`);
    }
    const { mean, square, weight } = statistics;
    if (![mean, square, weight].every(Number.isFinite) || square < 0 || weight < 0 || weight > 1) {
      throw new RangeError(
        `Cannot normalise values: statistics of mean ${mean}, square ${square} and weight ${weight} ` +
          `cannot be`,
      );
    }
    this.#decay = decay;
    this.#statistics = { mean, square, weight };
  }

  /** All there is to write to a checkpoint. */
  get statistics(): ValueStatistics {
    return this.#statistics;
  }

  /** Mean and deviation of the returns seen; 0 and 1 before the first. */
  get scale(): Scale {
    const { mean, square, weight } = this.#statistics;
    if (weight === 0) return { mean: 0, deviation: 1 };
    const average = mean / weight;
    const variance = Math.max(MIN_VARIANCE, square / weight - average ** 2);
    return { mean: average, deviation: Math.sqrt(variance) };
  }

  /**
   * See an update's returns: all of them weigh as one step of the average.
   * @param returns Value targets in units of reward; none changes nothing.
   * @throws RangeError if one is not finite; nothing has changed then.
   */
  update(returns: readonly number[]): void {
    if (returns.length === 0) return;
    const bad = returns.findIndex((x) => !Number.isFinite(x));
    if (bad >= 0) {
      throw new RangeError(`Cannot normalise values: return ${bad} is ${returns[bad]}`);
    }
    const mean = returns.reduce((a, x) => a + x, 0) / returns.length;
    const square = returns.reduce((a, x) => a + x * x, 0) / returns.length;
    const last = this.#statistics, keep = this.#decay;
    this.#statistics = {
      mean: keep * last.mean + (1 - keep) * mean,
      square: keep * last.square + (1 - keep) * square,
      weight: keep * last.weight + (1 - keep),
    };
  }

  /** From units of reward to the critic's. */
  normalize(value: number): number {
    const { mean, deviation } = this.scale;
    return (value - mean) / deviation;
  }

  /** From the critic's units to those of reward. */
  denormalize(value: number): number {
    const { mean, deviation } = this.scale;
    return value * deviation + mean;
  }
}

/** Units of reward: what a critic that controllers use should answer in. */
export const REWARD_SCALE: Scale = { mean: 0, deviation: 1 };

/**
 * Change the critic's last layer so that its answers in units of reward stay as they are while the
 * scale changes: w' = w·σ/σ', b' = (σ·b + μ − μ') / σ' (PopArt, section 2.2). With
 * {@link REWARD_SCALE} as the new scale the layer answers in units of reward itself: that is what
 * controllers get, which need not know the statistics.
 * @param layer The last layer's weights and bias, not changed.
 * @param before The scale so far.
 * @param after The scale from now on.
 */
export function rescaleOutput(
  layer: { readonly kernel: Float32Array; readonly bias: number },
  before: Scale,
  after: Scale,
): { readonly kernel: Float32Array; readonly bias: number } {
  const ratio = before.deviation / after.deviation;
  return {
    kernel: layer.kernel.map((w) => w * ratio),
    bias: (before.deviation * layer.bias + before.mean - after.mean) / after.deviation,
  };
}
