/**
 * Attention over a cache of fixed size, for every tfjs backend, as one kernel: all query heads share
 * one head of keys and values, only the places in use are read, and no tensor of all scores exists. And
 * a write of one place into such a cache, in place.
 *
 * Letters: B batch, T places that ask, N query heads, K width of a head, C places of the cache.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { NamedTensorMap, Tensor, Tensor3D, Tensor4D } from "../policy/tensors.ts";
import { ATTENTION_CPU } from "./attention_cpu.ts";
import { ATTENTION, ATTENTION_GRADIENT, CACHE_WRITE } from "./attention_kernel.ts";
import { ATTENTION_WASM } from "./attention_wasm.ts";
import { ATTENTION_WEBGPU } from "./attention_webgpu.ts";
import { kernelRegistrar, runKernel } from "./register_kernels.ts";

/** What an attention may be given beside queries, keys and values. */
export interface AttentionOptions {
  /**
   * What is added to the scores, `[1 or B, 1 or T, at least keys]`: 0 for a key that is seen, and far
   * below any score, but finite, for one that is not. A row that sees no key gets the mean of all.
   */
  readonly mask?: Tensor3D;
  /** How many places of the cache are in use: the first so many. All of them if absent. */
  readonly keys?: number;
}

/**
 * softmax(q · kᵀ + mask) · v, with gradients for q, k and v.
 *
 * @param q `[B, T, N, K]` float32, already scaled.
 * @param k `[B, C, K]` float32.
 * @param v `[B, C, K]` float32.
 * @returns `[B, T, N, K]`.
 * @throws {RangeError} When shapes do not belong together.
 * @throws {TypeError} When a tensor is not float32.
 */
export function attention(
  q: Tensor4D,
  k: Tensor3D,
  v: Tensor3D,
  { mask, keys = k.shape[1] }: AttentionOptions = {},
): Tensor4D {
  ensureKernels();
  check(q, k, v, mask, keys);
  const run = (added: Tensor) =>
    runKernel(ATTENTION, { q, k, v, mask: added }, { keys }) as Tensor4D;
  return mask ? run(mask) : tf.tidy(() => run(tf.zeros([1, 1, keys])));
}

/**
 * Write one place of a cache **in place**: the tensor itself changes, and with it everything that
 * shares its memory. For a tensor that its owner alone holds and that no gradient is taken through; on
 * WebAssembly it must not be the second operand of a matrix product either (what is multiplied is
 * packed once for each tensor).
 *
 * @param cache `[B, C, K]` float32.
 * @param x `[B, 1, K]` float32.
 * @param position Which place, 0…C−1.
 * @throws {RangeError} When there is no such place, or x does not fit it.
 * @throws {TypeError} When a tensor is not float32.
 */
export function writeCache(cache: Tensor3D, x: Tensor3D, position: number): void {
  ensureKernels();
  const [batch, capacity, width] = cache.shape;
  checkFloats({ cache, x });
  if (!(Number.isInteger(position) && position >= 0 && position < capacity)) {
    throw new RangeError(
      `Cannot write place ${position} of a cache: it has places 0…${capacity - 1}`,
    );
  }
  if (x.shape.join() !== [batch, 1, width].join()) {
    throw new RangeError(
      `Cannot write [${x.shape}] into a cache [${cache.shape}]: one place of it is ` +
        `[${[batch, 1, width]}]`,
    );
  }
  runKernel(CACHE_WRITE, { cache, x }, { position });
}

function check(
  q: Tensor4D,
  k: Tensor3D,
  v: Tensor3D,
  mask: Tensor3D | undefined,
  keys: number,
): void {
  checkFloats({ q, k, v, ...(mask && { mask }) });
  const [batch, places, , width] = q.shape;
  const capacity = k.shape[1];
  const shapes = `queries [${q.shape}], keys [${k.shape}], values [${v.shape}]`;
  const isCache = k.rank === 3 && k.shape.join() === v.shape.join();
  if (q.rank !== 4 || !isCache || k.shape[0] !== batch || k.shape[2] !== width || q.size === 0) {
    throw new RangeError(
      `Cannot attend with ${shapes}: they must be [B, T, N, K], [B, C, K] and [B, C, K], not empty`,
    );
  }
  if (!(Number.isInteger(keys) && keys >= 1 && keys <= capacity)) {
    throw new RangeError(
      `Cannot attend to ${keys} places of a cache [${k.shape}]: give 1…${capacity}`,
    );
  }
  if (!mask) return;
  const [maskBatch, maskPlaces, maskKeys] = mask.shape;
  const fits = mask.rank === 3 && (maskBatch === 1 || maskBatch === batch) &&
    (maskPlaces === 1 || maskPlaces === places) && maskKeys >= keys;
  if (!fits) {
    throw new RangeError(
      `Cannot mask ${shapes} by [${mask.shape}]: with ${keys} keys in use the mask is ` +
        `[1 or ${batch}, 1 or ${places}, ${keys} or more]`,
    );
  }
}

function checkFloats(tensors: NamedTensorMap): void {
  for (const [name, { dtype }] of Object.entries(tensors)) {
    if (dtype !== "float32") {
      throw new TypeError(`Cannot attend: ${name} is ${dtype}, float32 is needed`);
    }
  }
}

const ensureKernels = kernelRegistrar({
  cpu: ATTENTION_CPU,
  wasm: ATTENTION_WASM,
  webgpu: ATTENTION_WEBGPU,
  gradients: {
    [ATTENTION]: {
      inputs: ["q", "k", "v", "mask"],
      of: (dy, [q, k, v, mask], attrs) => {
        // One kernel makes all three, whichever of them somebody asks for.
        const [dq, dk, dv] = tf.engine().runKernel(
          ATTENTION_GRADIENT,
          { q, k, v, mask, dy } satisfies NamedTensorMap,
          attrs as tf.NamedAttrMap,
        ) as Tensor[];
        return { q: () => dq, k: () => dk, v: () => dv };
      },
    },
  },
});
