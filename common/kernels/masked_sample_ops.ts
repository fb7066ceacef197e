/**
 * Tokens drawn from a masked softmax, for every tfjs backend: the same tokens as {@link drawToken}
 * draws on the host from the same numbers, but where a number is within rounding of a boundary.
 *
 * On a GPU it makes three numbers a row of V logits, which then need not be read back. That pays where
 * the host waits for nothing else: while every token is read back on its own, as tfjs decodes here, the
 * wait of 11 ms in Deno is all there is (32 rows of 2,048 on a software GPU: 12.8 ms with logits read
 * back and drawn from on the host, 13.0 ms with this kernel; on WebAssembly 1.19 and 1.15 ms), and the
 * policy draws on the host.
 *
 * Letters: B rows, V tokens.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor2D } from "../policy/tensors.ts";
import { MASKED_SAMPLE_CPU, MASKED_SAMPLE_WASM } from "./masked_sample_host.ts";
import { MASKED_SAMPLE, maskWords } from "./masked_sample_kernel.ts";
import { MASKED_SAMPLE_WEBGPU } from "./masked_sample_webgpu.ts";
import { kernelRegistrar, runKernel } from "./register_kernels.ts";

/** How tokens are drawn. */
export interface MaskedSampleOptions {
  /** What each row may draw: `[V]`, 1 where a token is allowed. */
  readonly allowed: readonly Uint8Array[];
  /** One number a row, in [0, 1). Not looked at when the temperature is 0. */
  readonly uniforms: ArrayLike<number>;
  /**
   * Above 0: draw from softmax(logits / temperature). 0: take the best, whose log-probability and entropy
   * are then reported at temperature 1.
   */
  readonly temperature: number;
}

/**
 * Draw one token a row.
 *
 * @param logits `[B, V]` float32.
 * @returns `[B, 3]`: token, its log-probability and the entropy of what it was drawn from, in nats. A
 *   row that allows no token gives −1, and its other numbers are not finite. No gradient.
 * @throws {RangeError} When a mask is missing or of another length, a number is missing, or the
 *   temperature is negative or not finite.
 */
export function maskedSample(logits: Tensor2D, options: MaskedSampleOptions): Tensor2D {
  ensureKernels();
  const { allowed, uniforms, temperature } = options;
  const [batch, vocab] = logits.shape;
  if (!(temperature >= 0 && temperature < Infinity)) {
    throw new RangeError(
      `Cannot draw at temperature ${temperature}: it must be 0 or a positive number`,
    );
  }
  if (allowed.length !== batch || uniforms.length !== batch) {
    throw new RangeError(
      `Cannot draw from logits [${logits.shape}]: ${allowed.length} masks and ${uniforms.length} ` +
        `numbers were given, ${batch} of both are needed`,
    );
  }
  const odd = allowed.findIndex((row) => row.length !== vocab);
  if (odd >= 0) {
    throw new RangeError(
      `Cannot draw from logits [${logits.shape}]: the mask of row ${odd} has ` +
        `${allowed[odd].length} places, ${vocab} are needed`,
    );
  }
  return tf.tidy(() => {
    const words = tf.tensor2d(packMasks(allowed), [batch, maskWords(vocab)], "int32");
    const draws = tf.tensor1d(Float32Array.from(uniforms));
    const inputs = { logits, allowed: words, uniforms: draws };
    return runKernel(MASKED_SAMPLE, inputs, { temperature }) as Tensor2D;
  });
}

/** Masks as bits, `[B, ⌈V / 32⌉]`. */
function packMasks(rows: readonly Uint8Array[]): Int32Array {
  const words = maskWords(rows[0].length);
  const out = new Int32Array(rows.length * words);
  rows.forEach((row, b) => {
    for (let i = 0; i < row.length; i++) if (row[i]) out[b * words + (i >> 5)] |= 1 << (i & 31);
  });
  return out;
}

const ensureKernels = kernelRegistrar({
  cpu: MASKED_SAMPLE_CPU,
  wasm: MASKED_SAMPLE_WASM,
  webgpu: MASKED_SAMPLE_WEBGPU,
});
