import assert from "node:assert/strict";
import { matrixLayout } from "../quant/matrix_layout.ts";
import { type Bits, type QuantizedTensor, quantizeTensor } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import { ENGINE_MATRICES, planMatrices, uniformPlan } from "./matrix_plan.ts";
import { noise } from "./testing.ts";

const NAMES = Object.values(ENGINE_MATRICES).flat();
const SHAPES: Readonly<Record<string, readonly number[]>> = {
  "attn/q_einsum/w": [1, 2, 4, 4],
  "attn/kv_einsum/w": [1, 2, 1, 4, 4],
  "attn/attn_vec_einsum/w": [1, 2, 4, 4],
  "mlp/gating_einsum": [1, 2, 4, 8],
  "mlp/linear": [1, 8, 4],
  "embedder/input_embedding": [10, 4],
};

function floatOf(name: string): HostTensor {
  const shape = Object.entries(SHAPES).find(([ending]) => name.endsWith(ending))![1];
  return { name, shape, data: noise(1, shape.reduce((a, b) => a * b, 1)) };
}

/** Weights of which some are in few bits. */
function weightsWith(
  bits: Bits | ((name: string) => Bits),
  isQuantized: (name: string) => boolean,
) {
  const matrices = new Map<string, QuantizedTensor>();
  const floats = new Map<string, HostTensor>();
  for (const name of NAMES) {
    const tensor = floatOf(name);
    if (!isQuantized(name)) {
      floats.set(name, tensor);
      continue;
    }
    const few = typeof bits === "number" ? bits : bits(name);
    matrices.set(name, quantizeTensor(tensor, matrixLayout(name, tensor.shape)!, few));
  }
  return { matrices, floats };
}

Deno.test("planMatrices() keeps matrices as they are given", () => {
  assert.deepEqual(planMatrices(weightsWith(8, () => true)), uniformPlan(8));
  assert.deepEqual(planMatrices(weightsWith(4, () => true)), uniformPlan(4));
  assert.deepEqual(planMatrices(weightsWith(8, () => false)), uniformPlan(32));
  const onlyMlp = planMatrices(weightsWith(8, (name) => name.includes("mlp")));
  assert.deepEqual(onlyMlp, { ...uniformPlan(32), gateUp: 8, down: 8 });
  // Queries in few bits and keys in float32 lie in one matrix.
  assert.equal(planMatrices(weightsWith(4, (name) => !name.includes("kv_einsum"))).qkv, 32);
});

Deno.test("planMatrices() quantises the kinds that it is told to", () => {
  const floats = weightsWith(8, () => false);
  assert.deepEqual(planMatrices(floats, { precision: "int4" }), uniformPlan(4));
  const mlp = planMatrices(floats, { precision: "int8", quantized: ["mlp", "visionMlp"] });
  assert.deepEqual(mlp, { ...uniformPlan(32), gateUp: 8, down: 8 });
  assert.deepEqual(planMatrices(floats, { precision: "float32" }), uniformPlan(32));
});

Deno.test("planMatrices() refuses weights in 8 and in 4 bits together", () => {
  const mixed = weightsWith((name) => name.includes("mlp") ? 4 : 8, () => true);
  assert.throws(() => planMatrices(mixed), /has 4 bits, 8 are wanted/);
  const four = weightsWith(4, () => true);
  assert.throws(() => planMatrices(four, { precision: "int8" }), /has 4 bits, 8 are wanted/);
});
