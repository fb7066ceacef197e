/**
 * Chooses between kernels that compute the same, by measuring them on the device and the model at hand.
 *
 * Two choices are open. Products of a decode step read every weight once, so what counts is how well the
 * work is spread: threads and rows of a workgroup, and how they add up. Products of a prefill are bound
 * by multiplications, so what counts is the number format (`bind_matmul.ts`); a coarser one takes part
 * only if the caller allows it, since it changes what the policy computes.
 *
 * Both are measured with the largest matrices, gate, up and down of the MLP, of so many layers that no
 * cache holds them: nine tenths of all weights are there. There is a budget of time; when it is spent,
 * the best so far is taken.
 *
 * @module
 */

import type { GpuDevice } from "../device/gpu_device.ts";
import { withinMs } from "../device/within_ms.ts";
import type { Logger } from "../types.ts";
import { hasPackedDots, type MatmulFormat, matmulFormats } from "./bind_matmul.ts";
import type { EngineModel } from "./engine_model.ts";
import { type Fastest, pickFastest } from "./pick_fastest.ts";
import { type MlpWeights, ProductBench } from "./product_bench.ts";
import type { TuningStore } from "./tuning_store.ts";
import { DEFAULT_MATVEC, type MatvecShape } from "./wgsl/matvec.ts";

/** To be raised when a kernel of the products changes: older answers are then forgotten. */
export const KERNELS_VERSION = 1;

/** What was found to be fastest. */
export interface Tuning {
  /** Shape of the products of a decode step. */
  readonly matvec: MatvecShape;
  /** Number format of the products of a prefill. */
  readonly matmul: MatmulFormat;
  /** Weights that the decode step's products read, in 10⁹ bytes a second; 0 if not measured. */
  readonly gigabytesPerSecond: number;
  /** What the prefill's products do, in 10¹² operations a second; 0 if not measured. */
  readonly teraflops: number;
}

/** How to tune. */
export interface TuneOptions {
  /** The coarsest number format that a prefill may round its activations to; `int8` unless told. */
  readonly activations?: MatmulFormat;
  /** Time for everything, in ms, kept up to the end of a measurement; 4000 unless told. */
  readonly budgetMs?: number;
  /** Tune on a software renderer too; it keeps the defaults otherwise. */
  readonly allowSoftware?: boolean;
  /** Remembers answers. */
  readonly store?: TuningStore;
  /** Hears what was chosen. */
  readonly logger?: Logger;
  /** The clock that the budget is measured with, in ms; `performance.now` unless told. */
  readonly now?: () => number;
}

/** Less than 5 s, with room for a measurement that has begun. */
const DEFAULT_BUDGET_MS = 4000;
/** What a coarser format must save at least: it costs accuracy. */
const FORMAT_MARGIN = 0.1;
/** What measurements differ by, on a GPU that does nothing else. */
const NOISE = 0.02;
/** Of the budget, for the prefill's products: there are few candidates. */
const MATMUL_SHARE = 0.4;

/** How long a failed measurement waits to hear that the device has gone. */
const LOSS_NOTICE_MS = 20;

/** What works everywhere, and where the search begins. */
export function defaultMatvec(gpu: GpuDevice): MatvecShape {
  return { ...DEFAULT_MATVEC, usesSubgroups: gpu.features.hasSubgroups };
}

/**
 * The shapes of a decode step's products that a device can run.
 *
 * @param gpu The device.
 * @returns The default first, then those that are likely to be better.
 */
export function matvecShapes(gpu: GpuDevice): MatvecShape[] {
  const first = defaultMatvec(gpu);
  const { maxComputeInvocationsPerWorkgroup: most } = gpu.device.limits;
  const shapes = [first];
  const reductions = gpu.features.hasSubgroups ? [true, false] : [false];
  for (const usesSubgroups of reductions) {
    for (const threads of [128, 256, 64]) {
      for (const rows of [4, 2, 8]) {
        const isFirst = usesSubgroups === first.usesSubgroups && threads === first.threads &&
          rows === first.rows;
        if (threads <= most && !isFirst) shapes.push({ threads, rows, usesSubgroups });
      }
    }
  }
  return shapes;
}

/**
 * What an answer holds for: the device with its features, Deno, the model's sizes, the bits of its
 * weights, what was allowed, and the kernels.
 */
export function tuningKey(
  gpu: GpuDevice,
  { gemma }: EngineModel,
  { gateUp, down }: MlpWeights,
  activations: MatmulFormat,
): string {
  const { description, device, vendor, architecture } = gpu.adapterInfo;
  const { hasF16, hasSubgroups } = gpu.features;
  const flags = [hasF16 && "f16", hasSubgroups && "subgroups", hasPackedDots() && "dots"];
  return [
    [vendor, architecture, device, description].join(" "),
    flags.filter(Boolean).join("+"),
    `deno ${Deno.version.deno}`,
    `width ${gemma.width}, mlp ${gemma.mlpDim}, depth ${gemma.depth}`,
    `${gateUp.bits} and ${down.bits} bits`,
    `activations ${activations}`,
    `kernels ${KERNELS_VERSION}`,
  ].join("; ");
}

/**
 * A tuning as a line for people.
 *
 * @param tuning What was chosen.
 * @param how Such as "tuned in 1.2 s".
 */
export function tuningLine(tuning: Tuning, how: string): string {
  const { matvec: { threads, rows, usesSubgroups }, matmul } = tuning;
  const speed = (value: number, unit: string) =>
    value > 0 ? `${value.toPrecision(3)} ${unit}` : "not measured";
  return `${how}: matvec ${threads} threads × ${rows} rows ` +
    `${usesSubgroups ? "with" : "without"} subgroups ` +
    `${speed(tuning.gigabytesPerSecond, "GB/s")}; prefill ${matmul} tiles ` +
    speed(tuning.teraflops, "TFLOP/s");
}

/**
 * Choose the kernels of an engine, or remember the choice.
 *
 * @param gpu The device.
 * @param model Sizes.
 * @param layers Weights on the device; their numbers do not matter.
 * @param options How.
 * @returns What is fastest; undefined on a software renderer, unless that is allowed.
 * @throws {GpuLostError} If the device goes.
 */
export async function tune(
  gpu: GpuDevice,
  model: EngineModel,
  layers: readonly MlpWeights[],
  options: TuneOptions = {},
): Promise<Tuning | undefined> {
  const { activations = "int8", store, logger, allowSoftware = false } = options;
  const { budgetMs = DEFAULT_BUDGET_MS, now = () => performance.now() } = options;
  if (gpu.info.isSoftware && !allowSoftware) return undefined;
  const key = tuningKey(gpu, model, layers[0], activations);
  const known = await store?.read(key);
  if (known) {
    logger?.info(tuningLine(known, "tuned before"));
    return known;
  }
  const start = now();
  const leaveOut = async (what: string, error: unknown) => {
    // The loss of a device is known a moment after the commands that it swallowed.
    await withinMs(gpu.lost, LOSS_NOTICE_MS);
    if (gpu.isLost) gpu.check();
    logger?.warn(
      `${what} is left out of the tuning: ${error instanceof Error ? error.message : error}`,
    );
  };
  const bench = new ProductBench(gpu, model, layers);
  let operations = 0;
  const matmul = await pickFastest(matmulFormats(gpu, activations), {
    measure: async (format) => {
      const { ms, flops } = await bench.matmul(format);
      operations = flops;
      return ms;
    },
    margin: FORMAT_MARGIN,
    onFailure: (format, error) => leaveOut(`Format ${format}`, error),
    budgetMs: budgetMs * MATMUL_SHARE,
    now,
  });
  const matvec = await pickFastest(matvecShapes(gpu), {
    measure: (shape) => bench.matvecMs(shape),
    margin: NOISE,
    onFailure: (shape, error) => leaveOut(`Shape ${JSON.stringify(shape)}`, error),
    budgetMs: budgetMs - (now() - start),
    now,
  });
  const tuning = {
    matvec: matvec.best,
    matmul: matmul.best,
    gigabytesPerSecond: rate(bench.walkedBytes / 1e9, matvec),
    teraflops: rate(operations / 1e12, matmul),
  };
  const tookMs = now() - start;
  logger?.info(tuningLine(tuning, `tuned in ${(tookMs / 1000).toFixed(1)} s`));
  // What the budget cut off is looked for again the next time.
  if (tuning.gigabytesPerSecond > 0 && tuning.teraflops > 0) await store?.write(key, tuning);
  return tuning;
}

/** Amount a second; 0 where nothing could be measured. */
function rate(amount: number, { ms }: Fastest<unknown>): number {
  return Number.isFinite(ms) ? amount / ms * 1000 : 0;
}
