/**
 * Masked softmax sampling for backends whose values the host can see: tfjs's cpu backend, where it is the
 * definition, and WebAssembly. Both draw as {@link drawToken} does.
 *
 * @module
 */

import { drawToken } from "../policy/sampling.ts";
import type { TensorInfo } from "../policy/tensors.ts";
import { type CpuBackend, valuesOf } from "./cpu_backend.ts";
import { MASKED_SAMPLE, type MaskedSampleArgs, maskWords } from "./masked_sample_kernel.ts";
import type { KernelTable } from "./register_kernels.ts";
import type { WasmBackend } from "./wasm_backend.ts";

/** The kernel by its name, for the cpu backend. */
export const MASKED_SAMPLE_CPU: KernelTable = {
  [MASKED_SAMPLE]: ({ inputs, attrs, backend }: MaskedSampleArgs<CpuBackend>): TensorInfo => {
    const [logits, allowed, uniforms] = [inputs.logits, inputs.allowed, inputs.uniforms]
      .map((x) => valuesOf(backend, x));
    const [batch] = inputs.logits.shape;
    const out = new Float32Array(batch * 3);
    drawRows(logits as Float32Array, allowed, uniforms, attrs.temperature, out);
    return backend.makeTensorInfo([batch, 3], "float32", out);
  },
};

/** The kernel by its name, for the WebAssembly backend. */
export const MASKED_SAMPLE_WASM: KernelTable = {
  [MASKED_SAMPLE]: ({ inputs, attrs, backend }: MaskedSampleArgs<WasmBackend>): TensorInfo => {
    const out = backend.makeOutput([inputs.logits.shape[0], 3], "float32");
    // Taken behind makeOutput, which may have grown the memory.
    const [logits, allowed, uniforms, found] = [
      inputs.logits,
      inputs.allowed,
      inputs.uniforms,
      out,
    ].map((x) => backend.typedArrayFromHeap(x));
    drawRows(logits as Float32Array, allowed, uniforms, attrs.temperature, found as Float32Array);
    return out;
  },
};

/** Draw a token for each row into `out`, `[B, 3]`. A row that allows nothing gets −1 and NaN twice. */
function drawRows(
  logits: Float32Array,
  allowed: ArrayLike<number>,
  uniforms: ArrayLike<number>,
  temperature: number,
  out: Float32Array,
): void {
  const vocab = logits.length / uniforms.length;
  const words = maskWords(vocab);
  const mask = new Uint8Array(vocab);
  for (let row = 0; row < uniforms.length; row++) {
    for (let i = 0; i < vocab; i++) mask[i] = allowed[row * words + (i >> 5)] >>> (i & 31) & 1;
    if (!mask.includes(1)) {
      out.set([-1, NaN, NaN], 3 * row);
      continue;
    }
    const draw = drawToken(logits, row, mask, temperature, () => uniforms[row]);
    out.set([draw.token, draw.logProb, draw.entropy], 3 * row);
  }
}
