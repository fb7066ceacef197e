/**
 * The kernels of one decode step, in order, bound to their buffers: six a layer, ten with adapters, then
 * head and draw.
 *
 * @module
 */

import type { GpuAdapter } from "./engine_adapters.ts";
import type { EngineBuffers } from "./engine_buffers.ts";
import { capacityOf, criticSteps, type EngineModel } from "./engine_model.ts";
import type { EngineParameters } from "./engine_parameters.ts";
import type { GpuMatrix } from "./gpu_matrix.ts";
import type { Dispatch, KernelCache } from "./kernel.ts";
import { adapterFragment, adapterLowKernel, adapterParts } from "./wgsl/adapter.ts";
import { attendCombineKernel, COMBINE_THREADS } from "./wgsl/attend_combine.ts";
import { attendSplitKernel, SPLIT_KEYS } from "./wgsl/attend_split.ts";
import { storeGated, storePlain, storeQkv, storeResidual } from "./wgsl/epilogues.ts";
import { matvecKernel, type MatvecOptions, type MatvecShape } from "./wgsl/matvec.ts";
import { sampleKernel } from "./wgsl/sample.ts";

/**
 * Bind the kernels of a decode step.
 *
 * A step feeds the token whose embedding is in `token.x` at the state's place, draws the next one and
 * leaves its embedding there. Sizes of the dispatches depend on the keys that the step attends to.
 *
 * @param kernels Compiles and binds.
 * @param model Sizes.
 * @param parameters Weights and adapters.
 * @param buffers Working memory.
 * @param shape How products are divided.
 * @returns The dispatches of one step.
 * @throws {Error} If the driver refuses a kernel.
 */
export async function planDecode(
  kernels: KernelCache,
  model: EngineModel,
  { weights, adapters }: EngineParameters,
  buffers: EngineBuffers,
  shape: MatvecShape,
): Promise<Dispatch[]> {
  const { width: D, mlpDim: F, heads, headDim } = model.gemma;
  const { token, state, partial, stats, places, rope, hidden, logits } = buffers;
  const attention = { heads, headDim, capacity: capacityOf(model) };
  const plan: Dispatch[] = [];
  const multiply = async (
    options: Omit<MatvecOptions, "bits" | "columns">,
    matrix: GpuMatrix,
    bound: Readonly<Record<string, GPUBuffer>>,
  ) => {
    const kernel = matvecKernel({ ...options, bits: matrix.bits, columns: matrix.columns }, shape);
    for (const { values, scales, place: shard, rows } of matrix.shards) {
      const groups = Math.ceil(rows / shape.rows);
      const all = { ...bound, state, values, scales, shard };
      plan.push(await kernels.bind(kernel, all, () => [groups, 1]));
    }
  };

  /** What the adapter of a product adds to its epilogue and binds; its first half runs here. */
  const adapt = async (adapter: GpuAdapter | undefined, x: GPUBuffer, norm?: GPUBuffer) => {
    const none: Readonly<Record<string, GPUBuffer>> = {};
    if (!adapter) return { fragment: undefined, bound: none };
    const { size, a: lora_a, b: lora_b } = adapter;
    const lora_low = token.low;
    const parts = adapterParts(size);
    plan.push(
      await kernels.bind(
        adapterLowKernel(size, norm !== undefined),
        { state, x, lora_a, lora_low, ...(norm && { norm }) },
        () => [parts, size.segments],
      ),
    );
    return { fragment: adapterFragment(size, parts), bound: { lora_low, lora_b } };
  };

  for (const [l, layer] of weights.layers.entries()) {
    const cache = buffers.caches[l];
    const adapter = adapters.layers[l];
    const qkv = await adapt(adapter?.qkv, token.x, layer.attentionNorm);
    await multiply(
      {
        label: "norm, qkv, rope, cache",
        isNormed: true,
        epilogue: storeQkv(attention, qkv.fragment),
      },
      layer.qkv,
      { x: token.x, norm: layer.attentionNorm, places, rope, q: token.q, cache, ...qkv.bound },
    );
    plan.push(
      await kernels.bind(
        attendSplitKernel(attention),
        { state, places, q: token.q, cache, partial, stats },
        (keys) => [Math.ceil(keys / SPLIT_KEYS), 1],
      ),
      await kernels.bind(
        attendCombineKernel(attention),
        { state, partial, stats, attended: token.attended },
        () => [Math.ceil(heads * headDim / 4 / COMBINE_THREADS), 1],
      ),
    );
    const out = await adapt(adapter?.out, token.attended);
    await multiply(
      { label: "out, residual", isNormed: false, epilogue: storeResidual(D, out.fragment) },
      layer.out,
      { x: token.attended, residual: token.x, ...out.bound },
    );
    const gateUp = await adapt(adapter?.gateUp, token.x, layer.mlpNorm);
    await multiply(
      { label: "norm, gate, up, gelu", isNormed: true, epilogue: storeGated(F, gateUp.fragment) },
      layer.gateUp,
      { x: token.x, norm: layer.mlpNorm, gated: token.gated, ...gateUp.bound },
    );
    const down = await adapt(adapter?.down, token.gated);
    await multiply(
      { label: "down, residual", isNormed: false, epilogue: storeResidual(D, down.fragment) },
      layer.down,
      { x: token.gated, residual: token.x, ...down.bound },
    );
  }
  await multiply(
    {
      label: "norm, head",
      isNormed: true,
      keptSteps: criticSteps(model),
      epilogue: storePlain(weights.head.rows),
    },
    weights.head,
    { x: token.x, norm: weights.finalNorm, hidden, out: logits },
  );
  const { values, scales } = weights.head.shards[0];
  const { choice, grammar, uniforms, outcomes } = buffers;
  plan.push(
    await kernels.bind(
      sampleKernel(model.grammar.tables(), weights.head),
      { state, choice, logits, grammar, uniforms, values, scales, outcomes, x: token.x },
      () => [1, 1],
    ),
  );
  return plan;
}
