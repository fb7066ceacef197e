/**
 * In how many bits an engine keeps each of its matrices: as it is given them, unless told to quantise.
 *
 * @module
 */

import type { StoragePlan } from "../policy/parameter_store.ts";
import { matrixLayout } from "../quant/matrix_layout.ts";
import type { QuantizedWeights } from "../quant/quantized_tensor.ts";
import type { WeightBits } from "./packed_rows.ts";

/** An engine's matrices; some hold several arrays of a checkpoint. */
export const ENGINE_MATRICES = {
  qkv: ["PaliGemma/llm/layers/attn/q_einsum/w", "PaliGemma/llm/layers/attn/kv_einsum/w"],
  out: ["PaliGemma/llm/layers/attn/attn_vec_einsum/w"],
  gateUp: ["PaliGemma/llm/layers/mlp/gating_einsum"],
  down: ["PaliGemma/llm/layers/mlp/linear"],
  embedding: ["PaliGemma/llm/embedder/input_embedding"],
} as const satisfies Record<string, readonly string[]>;

/** Name of one of {@link ENGINE_MATRICES}. */
export type EngineMatrixName = keyof typeof ENGINE_MATRICES;

/** Bits of a weight of each matrix; the output head has those of the embedding. */
export type MatrixPlan = Readonly<Record<EngineMatrixName, WeightBits>>;

/** The same bits for every matrix. */
export function uniformPlan(bits: WeightBits): MatrixPlan {
  return { qkv: bits, out: bits, gateUp: bits, down: bits, embedding: bits };
}

/**
 * Plan an engine's matrices.
 *
 * Arrays that come in few bits stay so; those that come in float32 do too unless `storage` names few
 * bits and their kind. A matrix of several arrays is float32 if one of them is. Arrays that are missing
 * count as 8 bits.
 *
 * @param weights What the engine will be given.
 * @param storage How arrays in float32 are kept; as they are if absent.
 * @returns Bits by matrix.
 * @throws {RangeError} If arrays come in 8 and in 4 bits, or in other bits than wanted.
 */
export function planMatrices(
  { matrices, floats }: QuantizedWeights,
  storage: StoragePlan = { precision: "float32" },
): MatrixPlan {
  const wanted = ({ float32: undefined, int8: 8, int4: 4 } as const)[storage.precision];
  const [given] = [...matrices.values()];
  const few = wanted ?? given?.bits ?? 8;
  for (const { name, bits } of matrices.values()) {
    if (bits === few) continue;
    throw new RangeError(
      `Cannot plan the decode engine's matrices: ${name} has ${bits} bits, ${few} are wanted; load ` +
        "the checkpoint that it was quantised from",
    );
  }
  const bitsOf = (name: string): WeightBits => {
    const float = matrices.has(name) ? undefined : floats.get(name);
    if (!float) return few;
    return wanted && matrixLayout(name, float.shape, storage.quantized) ? wanted : 32;
  };
  const plan = Object.entries(ENGINE_MATRICES).map(([matrix, names]) => {
    const bits = names.map(bitsOf);
    return [matrix, bits.includes(32) ? 32 : few];
  });
  return Object.fromEntries(plan) as MatrixPlan;
}
