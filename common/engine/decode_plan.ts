/**
 * The kernels of one decode step, in order, bound to their buffers: six a layer, then head and draw.
 *
 * @module
 */

import type { EngineBuffers } from "./engine_buffers.ts";
import { capacityOf, type EngineModel } from "./engine_model.ts";
import type { EngineWeights } from "./engine_weights.ts";
import type { GpuMatrix } from "./gpu_matrix.ts";
import type { Dispatch, KernelCache } from "./kernel.ts";
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
 * @param weights Weights.
 * @param buffers Working memory.
 * @param shape How products are divided.
 * @returns The dispatches of one step.
 * @throws {Error} If the driver refuses a kernel.
 */
export async function planDecode(
  kernels: KernelCache,
  model: EngineModel,
  weights: EngineWeights,
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

  for (const [l, layer] of weights.layers.entries()) {
    const cache = buffers.caches[l];
    await multiply(
      { label: "norm, qkv, rope, cache", isNormed: true, epilogue: storeQkv(attention) },
      layer.qkv,
      { x: token.x, norm: layer.attentionNorm, places, rope, q: token.q, cache },
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
    await multiply(
      { label: "out, residual", isNormed: false, epilogue: storeResidual(D) },
      layer.out,
      { x: token.attended, residual: token.x },
    );
    await multiply(
      { label: "norm, gate, up, gelu", isNormed: true, epilogue: storeGated(F) },
      layer.gateUp,
      { x: token.x, norm: layer.mlpNorm, gated: token.gated },
    );
    await multiply(
      { label: "down, residual", isNormed: false, epilogue: storeResidual(D) },
      layer.down,
      { x: token.gated, residual: token.x },
    );
  }
  await multiply(
    {
      label: "norm, head",
      isNormed: true,
      keptSteps: model.hiddenSteps,
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
