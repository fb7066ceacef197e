/**
 * Normalisation of states and actions, and its statistics in openpi's `norm_stats.json`.
 *
 * By quantiles, as openpi's π0-FAST has it, a value's 1st percentile becomes −1 and its 99th +1;
 * by mean and deviation, as LeRobot's has it, its mean becomes 0 and one deviation 1. What lies
 * outside maps outside: nothing is clipped. Letters: N samples, D numbers a sample.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { z } from "zod";
import type { NormalizationMode } from "./dialect.ts";

/** openpi adds this to q99 − q01 so that a constant is not divided by zero. */
const EPSILON = 1e-6;

/**
 * LeRobot adds this to the deviation when it normalises, and not when it un-normalises. It also is the
 * distance of q99 from q01 where both are equal; elsewhere nothing is added to that.
 */
const LEROBOT_EPSILON = 1e-8;

/**
 * Default least distance of q99 from q01, in the data's own unit: 0.02 rad is about 1°, or 2 % of
 * a gripper's stroke. Chosen below any joint's deliberate movement and above servo noise.
 */
export const DEFAULT_MIN_RANGE = 0.02;

/** Statistics of one field, each `[D]`, in the field's own units. */
export interface FieldStats {
  /** Means. */
  readonly mean: readonly number[];
  /** Population standard deviations. */
  readonly std: readonly number[];
  /** 1st percentiles; absent where nobody computed them, and then {@link q99} is, too. */
  readonly q01?: readonly number[];
  /** 99th percentiles, none below its q01. */
  readonly q99?: readonly number[];
  /** How they are used: by quantiles if absent. No part of the file; see {@link withMode}. */
  readonly mode?: NormalizationMode;
}

/** Statistics that have percentiles. */
export type QuantileStats = FieldStats & Required<Pick<FieldStats, "q01" | "q99">>;

/** Statistics of everything that is normalised. */
export interface NormStats {
  /** Of the robot's state. */
  readonly state: FieldStats;
  /** Of the actions. */
  readonly actions: FieldStats;
}

const numbers = z.array(z.number()).min(1);
const fieldSchema = z.object({
  mean: numbers,
  std: numbers,
  q01: numbers.optional(),
  q99: numbers.optional(),
})
  .refine((f) => (f.q01 === undefined) === (f.q99 === undefined), {
    message: "q01 and q99 belong together, one of them is missing",
  })
  .refine(
    (f) => [f.std, f.q01, f.q99].every((list) => !list || list.length === f.mean.length),
    { message: "mean, std, q01 and q99 differ in length" },
  )
  .refine((f) => !f.q01 || !f.q99 || f.q01.every((q, i) => q <= f.q99![i]), {
    message: "a q01 lies above its q99",
  });
const fileSchema = z.object({
  norm_stats: z.object({ state: fieldSchema, actions: fieldSchema }),
});

/**
 * Check statistics of one field that come from a file.
 *
 * @param stats Anything.
 * @returns The statistics, or what is wrong with them: a place such as `q01.3` and a clause.
 */
export function parseFieldStats(
  stats: unknown,
): { readonly stats: FieldStats } | { readonly place: string; readonly fault: string } {
  const parsed = fieldSchema.safeParse(stats);
  if (parsed.success) return { stats: parsed.data };
  const issue = parsed.error.issues[0];
  return { place: issue.path.join("."), fault: issue.message };
}

/**
 * The same statistics, used in another way.
 *
 * @param stats The statistics.
 * @param mode How {@link normalize} and {@link unnormalize} shall use them.
 * @returns A copy that says so.
 * @throws {RangeError} When percentiles are needed and there are none.
 */
export function withMode({ state, actions }: NormStats, mode: NormalizationMode): NormStats {
  const used = mode === "quantile" ? {} : { mode };
  for (const [field, { q01, q99 }] of Object.entries({ state, actions })) {
    if (mode !== "mean_std" && (q01 === undefined || q99 === undefined)) {
      throw new RangeError(
        `Cannot normalise by quantiles: the statistics of ${field} have no q01 and q99; compute ` +
          "statistics that have them, or use a checkpoint that normalises by mean and deviation",
      );
    }
  }
  return { state: { ...inOrder(state), ...used }, actions: { ...inOrder(actions), ...used } };
}

/** Where −1 is, and how much ±1 is apart, of dimension d. */
function spanOf(stats: FieldStats, d: number): { low: number; span: number } {
  const { q01, q99, mode } = stats;
  if (q01 === undefined || q99 === undefined) {
    throw new RangeError("Cannot normalise by quantiles: the statistics have no q01 and q99");
  }
  const low = q01[d];
  const span = q99[d] - low;
  if (mode === "lerobot_quantile") return { low, span: span === 0 ? LEROBOT_EPSILON : span };
  return { low, span: span + EPSILON };
}

/**
 * Normalise samples: `(x − q01) / (q99 − q01 + 1e-6) · 2 − 1`; without the 1e-6 (but by 1e-8 where
 * both are equal) if the statistics' mode is `lerobot_quantile`; `(x − mean) / (std + 1e-8)` if it is
 * `mean_std`.
 *
 * @param values `[N, D]` row-major.
 * @param stats Statistics `[D]`.
 * @returns `[N, D]`, nominally in [−1, 1].
 * @throws {RangeError} If the values are not whole samples.
 */
export function normalize(values: ArrayLike<number>, stats: FieldStats): Float32Array {
  const dim = checkDim("normalise", values.length, stats);
  const out = new Float32Array(values.length);
  if (stats.mode === "mean_std") {
    for (let i = 0; i < out.length; i++) {
      out[i] = (values[i] - stats.mean[i % dim]) / (stats.std[i % dim] + LEROBOT_EPSILON);
    }
    return out;
  }
  for (let i = 0; i < out.length; i++) {
    const { low, span } = spanOf(stats, i % dim);
    out[i] = ((values[i] - low) / span) * 2 - 1;
  }
  return out;
}

/**
 * Inverse of {@link normalize}; by mean and deviation, `x · std + mean`.
 *
 * @param values `[N, D]` row-major, nominally in [−1, 1].
 * @param stats Statistics `[D]`.
 * @returns `[N, D]` in the field's own units.
 * @throws {RangeError} If the values are not whole samples.
 */
export function unnormalize(values: ArrayLike<number>, stats: FieldStats): Float32Array {
  const dim = checkDim("un-normalise", values.length, stats);
  const out = new Float32Array(values.length);
  if (stats.mode === "mean_std") {
    for (let i = 0; i < out.length; i++) {
      out[i] = values[i] * stats.std[i % dim] + stats.mean[i % dim];
    }
    return out;
  }
  for (let i = 0; i < out.length; i++) {
    const { low, span } = spanOf(stats, i % dim);
    out[i] = ((values[i] + 1) / 2) * span + low;
  }
  return out;
}

/**
 * Statistics of samples. Percentiles interpolate linearly between neighbours.
 *
 * Where q99 − q01 is below `minRange`, both move away from their middle until it is `minRange`:
 * a joint that never moved then maps to 0 and a small deviation stays small, where openpi's
 * formula would blow it up a million times.
 *
 * @param values Samples `[N, D]` row-major, N ≥ 1.
 * @param dim D.
 * @param minRange Least q99 − q01, above 0, in the values' unit; one for all or `[D]`.
 * @returns Their statistics.
 * @throws {RangeError} If there are no whole samples, one is not finite, or `minRange` is wrong.
 */
export function computeFieldStats(
  values: ArrayLike<number>,
  dim: number,
  minRange: number | readonly number[] = DEFAULT_MIN_RANGE,
): QuantileStats {
  const count = values.length / dim;
  if (!Number.isInteger(dim) || dim < 1 || !Number.isInteger(count) || count < 1) {
    throw new RangeError(
      `Cannot compute statistics: ${values.length} values are not samples of ${dim} numbers`,
    );
  }
  const stats = { mean: [], std: [], q01: [], q99: [] } as Record<
    Exclude<keyof FieldStats, "mode">,
    number[]
  >;
  const column = new Float64Array(count);
  for (let d = 0; d < dim; d++) {
    const least = typeof minRange === "number" ? minRange : minRange[d];
    if (!(least > 0)) {
      throw new RangeError(
        `Cannot compute statistics: minRange of dimension ${d} is ${least}, must be above 0`,
      );
    }
    let sum = 0;
    for (let n = 0; n < count; n++) sum += column[n] = values[n * dim + d];
    const mean = sum / count;
    if (!Number.isFinite(mean)) {
      throw new RangeError(`Cannot compute statistics: dimension ${d} has a value not finite`);
    }
    const squares = column.reduce((total, x) => total + (x - mean) ** 2, 0);
    column.sort();
    let q01 = quantile(column, 0.01);
    let q99 = quantile(column, 0.99);
    if (q99 - q01 < least) {
      const middle = (q01 + q99) / 2;
      q01 = middle - least / 2;
      q99 = middle + least / 2;
    }
    stats.mean.push(mean);
    stats.std.push(Math.sqrt(squares / count));
    stats.q01.push(q01);
    stats.q99.push(q99);
  }
  return stats;
}

/**
 * Read openpi's `norm_stats.json`.
 *
 * @param path The file.
 * @returns Its statistics of state and actions.
 * @throws {Error} If the file is missing.
 * @throws {SyntaxError} If it is not such a file.
 */
export async function loadNormStats(path: string): Promise<NormStats> {
  let json: unknown;
  try {
    json = JSON.parse(await Deno.readTextFile(path));
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) {
      throw new Error(`Cannot load normalisation statistics: ${path} does not exist`, { cause });
    }
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new SyntaxError(`Cannot load normalisation statistics: ${path} is not JSON`, { cause });
  }
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new SyntaxError(
      `Cannot load normalisation statistics: ${issue.path.join(".") || "the content"} of ` +
        `${path} is wrong (${issue.message})`,
      { cause: parsed.error },
    );
  }
  return parsed.data.norm_stats;
}

/**
 * Write openpi's `norm_stats.json`.
 *
 * @param path The file; its folder must exist.
 * @param stats What to write.
 */
export async function saveNormStats(path: string, stats: NormStats): Promise<void> {
  await Deno.writeTextFile(path, formatNormStats(stats));
}

/**
 * The text of openpi's `norm_stats.json`.
 *
 * @param stats What it shall hold; how they are used is no part of it.
 */
export function formatNormStats({ state, actions }: NormStats): string {
  const content = { norm_stats: { state: inOrder(state), actions: inOrder(actions) } };
  return `${JSON.stringify(content, null, 2)}\n`;
}

/**
 * SHA-256 of the statistics, equal for equal numbers.
 *
 * @param stats The statistics.
 * @returns 64 hexadecimal digits.
 */
export function normStatsFingerprint(stats: NormStats): string {
  const content = ["norm-1", inOrder(stats.state), inOrder(stats.actions)];
  return createHash("sha256").update(JSON.stringify(content)).digest("hex");
}

function inOrder({ mean, std, q01, q99 }: FieldStats): FieldStats {
  return q01 === undefined ? { mean, std } : { mean, std, q01, q99 };
}

function checkDim(verb: string, length: number, stats: FieldStats): number {
  const dim = stats.mean.length;
  if (length % dim !== 0) {
    throw new RangeError(
      `Cannot ${verb}: ${length} values are not samples of ${dim} numbers, which the statistics have`,
    );
  }
  return dim;
}

function quantile(sorted: Float64Array, q: number): number {
  const at = q * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
}
