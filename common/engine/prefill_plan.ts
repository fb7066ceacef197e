/**
 * The kernels of a prefill, in order, bound to their buffers. All places go through each layer together.
 *
 * Only keys and values are wanted of a prefix: its last layer stops there, and the place that the first
 * token is predicted from is left to the first decode step.
 *
 * @module
 */

import { bindMatmul, type MatmulChoice } from "./bind_matmul.ts";
import type { GpuAdapter } from "./engine_adapters.ts";
import type { EngineBuffers } from "./engine_buffers.ts";
import { capacityOf, type EngineModel } from "./engine_model.ts";
import type { EngineParameters } from "./engine_parameters.ts";
import type { GpuMatrix } from "./gpu_matrix.ts";
import type { Dispatch, Fragment, KernelCache } from "./kernel.ts";
import { ADAPTER_TOKENS, adapterFragment, adapterLowPrefixKernel } from "./wgsl/adapter.ts";
import { attendPrefixKernel, PREFIX_ROWS } from "./wgsl/attend_prefix.ts";
import { embedKernel } from "./wgsl/embed.ts";
import { storeGated, storeQkv, storeResidual } from "./wgsl/epilogues.ts";
import { rmsNormKernel } from "./wgsl/rms_norm.ts";

/** Kernels of a prefill. */
export interface PrefillPlan {
  /** Embeds the prefix's text; sizes depend on the number of ids. */
  readonly embedText: readonly Dispatch[];
  /** Embeds the one token that decoding begins with; sizes depend on nothing. */
  readonly embedFirst: readonly Dispatch[];
  /** Fills the caches; sizes depend on the number of places. */
  readonly layers: readonly Dispatch[];
}

/**
 * Bind the kernels of a prefill.
 *
 * @param kernels Compiles and binds.
 * @param model Sizes.
 * @param parameters Weights and adapters.
 * @param buffers Working memory; image tokens are expected in the first rows of `prefix.x`.
 * @param products How products are computed: exactly unless told.
 * @returns The dispatches.
 * @throws {Error} If the driver refuses a kernel.
 */
export async function planPrefill(
  kernels: KernelCache,
  model: EngineModel,
  { weights, adapters }: EngineParameters,
  buffers: EngineBuffers,
  products?: MatmulChoice,
): Promise<PrefillPlan> {
  const { width: D, mlpDim: F, heads, headDim, depth } = model.gemma;
  const { places, rope, prefix, token } = buffers;
  const { x, normed, q, attended, gated } = prefix;
  const attention = { heads, headDim, capacity: capacityOf(model) };
  const layers: Dispatch[] = [];
  const multiply = async (
    label: string,
    matrix: GpuMatrix,
    epilogue: readonly Fragment[],
    bound: Readonly<Record<string, GPUBuffer>>,
  ) => {
    const task = { label, matrix, epilogue, bound: { ...bound, places } };
    layers.push(...await bindMatmul(kernels, task, products));
  };
  const normalize = async (norm: GPUBuffer) => {
    layers.push(await kernels.bind(rmsNormKernel(D), { x, norm, normed }, (count) => [count, 1]));
  };
  /** What the adapter of a product adds to its epilogue and binds; its first half runs here. */
  const adapt = async (adapter: GpuAdapter | undefined, x: GPUBuffer) => {
    const none: Readonly<Record<string, GPUBuffer>> = {};
    if (!adapter) return { fragment: undefined, bound: none };
    const { size, a: lora_a, b: lora_b } = adapter;
    const lora_low = prefix.low;
    layers.push(
      await kernels.bind(
        adapterLowPrefixKernel(size),
        { places, x, lora_a, lora_low },
        (count) => [Math.ceil(count / ADAPTER_TOKENS), size.segments],
      ),
    );
    return { fragment: adapterFragment(size, 1), bound: { lora_low, lora_b } };
  };
  const embed = async (ids: GPUBuffer, to: GPUBuffer) => {
    const bound: Dispatch[] = [];
    for (const { values, scales, place: shard } of weights.embedding.shards) {
      const all = { values, scales, shard, ids, x: to };
      bound.push(
        await kernels.bind(embedKernel(weights.embedding.bits, D), all, (count) => [count, 1]),
      );
    }
    return bound;
  };

  for (const [l, layer] of weights.layers.entries()) {
    const cache = buffers.caches[l];
    const adapter = adapters.layers[l];
    await normalize(layer.attentionNorm);
    const qkv = await adapt(adapter?.qkv, normed);
    await multiply("prefix qkv", layer.qkv, storeQkv(attention, qkv.fragment), {
      x: normed,
      rope,
      q,
      cache,
      ...qkv.bound,
    });
    if (l === depth - 1) break;
    layers.push(
      await kernels.bind(
        attendPrefixKernel(attention),
        { places, q, cache, attended },
        (count) => [Math.ceil(count * heads / PREFIX_ROWS), 1],
      ),
    );
    const out = await adapt(adapter?.out, attended);
    await multiply("prefix out", layer.out, storeResidual(D, out.fragment), {
      x: attended,
      residual: x,
      ...out.bound,
    });
    await normalize(layer.mlpNorm);
    const gateUp = await adapt(adapter?.gateUp, normed);
    await multiply("prefix gate and up", layer.gateUp, storeGated(F, gateUp.fragment), {
      x: normed,
      gated,
      ...gateUp.bound,
    });
    const down = await adapt(adapter?.down, gated);
    await multiply("prefix down", layer.down, storeResidual(D, down.fragment), {
      x: gated,
      residual: x,
      ...down.bound,
    });
  }
  return {
    embedText: await embed(buffers.ids, x),
    embedFirst: await embed(buffers.firstId, token.x),
    layers,
  };
}
