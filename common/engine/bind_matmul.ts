/**
 * Products with many vectors in the number format that was chosen for them: which kernels that takes,
 * bound in order.
 *
 * @module
 */

import type { GpuDevice } from "../device/gpu_device.ts";
import type { GpuBuffers } from "./gpu_buffers.ts";
import type { GpuMatrix } from "./gpu_matrix.ts";
import type { Dispatch, Fragment, Kernel, KernelCache } from "./kernel.ts";
import { MATMUL_TILE, matmulKernel } from "./wgsl/matmul.ts";
import { matmulF16Kernel } from "./wgsl/matmul_f16.ts";
import { matmulInt8Kernel } from "./wgsl/matmul_int8.ts";
import { QUANTIZE_GROUPS, quantizeRowsKernel, roundedWords } from "./wgsl/quantize_rows.ts";

/**
 * What a product rounds its vectors to before it multiplies: nothing, half precision (weights too), or
 * 8 bits in groups of 32. Sums are float32 in all of them. From the finest to the coarsest.
 */
export const MATMUL_FORMATS = ["float32", "float16", "int8"] as const;

/** One of {@link MATMUL_FORMATS}. */
export type MatmulFormat = (typeof MATMUL_FORMATS)[number];

/**
 * The formats that a device has instructions for.
 *
 * @param gpu The device.
 * @param coarsest None that rounds more than this one.
 * @returns At least `float32`, from the finest to the coarsest.
 */
export function matmulFormats(gpu: GpuDevice, coarsest: MatmulFormat = "int8"): MatmulFormat[] {
  const has: Readonly<Record<MatmulFormat, boolean>> = {
    float32: true,
    float16: gpu.features.hasF16,
    int8: hasPackedDots(),
  };
  const allowed = MATMUL_FORMATS.slice(0, MATMUL_FORMATS.indexOf(coarsest) + 1);
  return allowed.filter((format) => has[format]);
}

/** Whether shaders may multiply four bytes at once (`dot4I8Packed`). */
export function hasPackedDots(): boolean {
  // TypeScript's library does not know the property yet.
  const gpu = navigator.gpu as { readonly wgslLanguageFeatures?: ReadonlySet<string> } | undefined;
  return gpu?.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product") ?? false;
}

/** How a plan's products with many vectors are computed. */
export interface MatmulChoice {
  /** What vectors are rounded to. Matrices of plain floats take `float16` where `int8` is asked for. */
  readonly format: MatmulFormat;
  /** Where rounded vectors go, for `int8` alone: {@link roundedBytes} of the longest. */
  readonly rounded?: GPUBuffer;
}

/** Exact products: what a plan does unless told. */
export const EXACT_MATMUL: MatmulChoice = { format: "float32" };

/**
 * Bytes of vectors rounded to 8 bits.
 *
 * @param tokens T.
 * @param columns Length of the longest.
 */
export function roundedBytes(tokens: number, columns: number): number {
  return 4 * tokens * roundedWords(columns).total;
}

/**
 * Make what a format needs.
 *
 * @param buffers Owner of what is made.
 * @param format The format.
 * @param tokens Most vectors of a product.
 * @param columns Length of the longest.
 * @returns The choice, for any number of products one after the other.
 */
export function createMatmulChoice(
  buffers: GpuBuffers,
  format: MatmulFormat,
  tokens: number,
  columns: number,
): MatmulChoice {
  if (format !== "int8") return { format };
  return { format, rounded: buffers.storage("rounded vectors", roundedBytes(tokens, columns)) };
}

/** What a product computes. */
export interface MatmulTask {
  /** Its name in error messages. */
  readonly label: string;
  /** `[R, C]`. */
  readonly matrix: GpuMatrix;
  /** What to do with the outputs. */
  readonly epilogue: readonly Fragment[];
  /** `places`, `x` (`[T, C padded]`) and what the epilogue binds. */
  readonly bound: Readonly<Record<string, GPUBuffer>>;
}

/** The format that a matrix is multiplied in. */
function formatOf({ format }: MatmulChoice, { bits }: GpuMatrix, gpu: GPUDevice): MatmulFormat {
  if (format !== "int8" || bits !== 32) return format;
  return gpu.features.has("shader-f16") ? "float16" : "float32";
}

function kernelOf(format: MatmulFormat, { label, matrix, epilogue }: MatmulTask): Kernel {
  const { bits, columns } = matrix;
  if (format === "int8" && bits !== 32) return matmulInt8Kernel({ label, bits, columns, epilogue });
  const kernel = format === "float32" ? matmulKernel : matmulF16Kernel;
  return kernel({ label, bits, columns, epilogue });
}

/**
 * Bind a product with many vectors: a dispatch for each part of the matrix, and one before them where
 * vectors are rounded. Sizes depend on the number of vectors.
 *
 * @param kernels Compiles and binds.
 * @param task What it computes.
 * @param choice How.
 * @returns The dispatches in order.
 * @throws {TypeError} If vectors are to be rounded and there is no buffer for them.
 * @throws {Error} If the driver refuses a kernel.
 */
export async function bindMatmul(
  kernels: KernelCache,
  task: MatmulTask,
  choice: MatmulChoice = EXACT_MATMUL,
): Promise<Dispatch[]> {
  const { matrix, bound } = task;
  const format = formatOf(choice, matrix, kernels.device);
  const dispatches: Dispatch[] = [];
  if (format === "int8") {
    if (!choice.rounded) {
      throw new TypeError(
        `Cannot bind product ${task.label}: there is no buffer for rounded vectors; make one with ` +
          "createMatmulChoice()",
      );
    }
    const groups = roundedWords(matrix.columns).values / 8;
    const across = Math.ceil(groups / QUANTIZE_GROUPS);
    dispatches.push(
      await kernels.bind(
        quantizeRowsKernel(matrix.columns),
        { x: bound.x, x_rounded: choice.rounded },
        (tokens) => [across, tokens],
      ),
    );
  }
  const kernel = kernelOf(format, task);
  const all = choice.rounded ? { ...bound, x_rounded: choice.rounded } : bound;
  for (const { values, scales, place: shard, rows } of matrix.shards) {
    const across = Math.ceil(rows / MATMUL_TILE);
    dispatches.push(
      await kernels.bind(
        kernel,
        { ...all, values, scales, shard },
        (tokens) => [across, Math.ceil(tokens / MATMUL_TILE)],
      ),
    );
  }
  return dispatches;
}
