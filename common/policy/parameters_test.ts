import assert from "node:assert/strict";
import fc from "fast-check";
import type { HostTensor } from "../types.ts";
import { useDevice } from "./backend.ts";
import {
  backboneSpecs,
  drawParameters,
  parameterCount,
  type ParameterSpec,
  ParameterStore,
  permute,
  valueHeadSpecs,
} from "./parameters.ts";
import { countTensors, drawEverything, MICRO, MICRO_LORA, normalSource } from "./testing.ts";
import { VARIANTS } from "./variants.ts";

const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });
const permuted = shapes.chain((shape) =>
  fc.tuple(
    fc.constant(shape),
    fc.shuffledSubarray(shape.map((_, i) => i), { minLength: shape.length }),
  )
);

Deno.test("permute() moves every number to where its permuted index says", () => {
  fc.assert(
    fc.property(permuted, ([shape, permutation]) => {
      const source = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i);
      const outShape = permutation.map((axis) => shape[axis]);
      permute(source, shape, permutation).forEach((value, i) => {
        const index = new Array<number>(shape.length);
        for (let axis = outShape.length - 1, left = i; axis >= 0; axis--) {
          index[permutation[axis]] = left % outShape[axis];
          left = Math.floor(left / outShape[axis]);
        }
        assert.equal(value, index.reduce((at, x, axis) => at * shape[axis] + x, 0));
      });
    }),
    { numRuns: 100 },
  );
});

Deno.test("permute() by the inverse permutation restores the source", () => {
  fc.assert(
    fc.property(permuted, ([shape, permutation]) => {
      const source = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i);
      const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
      const there = permute(source, shape, permutation);
      const back = permute(there, permutation.map((axis) => shape[axis]), inverse);
      assert.deepEqual(back, source);
    }),
    { numRuns: 100 },
  );
});

Deno.test("a store gives back exactly what a checkpoint gave it", async () => {
  await useDevice("cpu");
  const before = countTensors();
  for (const variant of [MICRO, MICRO_LORA]) {
    const specs = backboneSpecs(variant);
    const tensors = drawEverything(specs, 3);
    const store = new ParameterStore(specs, tensors);
    assert.deepEqual(await store.toHost(), [...tensors.values()]);
    store.dispose();
  }
  assert.equal(countTensors(), before);
});

Deno.test("a store holds one tensor a layer, in the order that a product takes", async () => {
  await useDevice("cpu");
  const specs = backboneSpecs(MICRO);
  const tensors = drawEverything(specs, 3);
  const store = new ParameterStore(specs, tensors);
  const { width: D, heads: N, headDim: K } = MICRO.gemma;
  const path = "PaliGemma/llm/layers/attn/q_einsum/w";
  const stored = tensors.get(path)!.data; // [L, N, D, K]
  const layer = await store.get(path, 1).data<"float32">(); // [D, N·K]
  for (let n = 0; n < N; n++) {
    for (let d = 0; d < D; d++) {
      for (let k = 0; k < K; k++) {
        assert.equal(layer[d * N * K + n * K + k], stored[((N + n) * D + d) * K + k]);
      }
    }
  }
  assert.deepEqual(store.get("PaliGemma/llm/layers/attn/kv_einsum/w", 3).shape, [D, K]);
  assert.throws(() => store.get(path, 2), /no parameter .*q_einsum\/w at layer 2/);
  assert.throws(() => store.get("nothing"), /no parameter nothing at layer 0/);
  assert.ok(store.has(path) && !store.has("nothing"));
  const scales = store.select((p) => p.endsWith("pre_ffw_norm/scale"));
  assert.equal(scales.length, MICRO.gemma.depth);
  store.dispose();
});

const countOf = (specs: readonly ParameterSpec[], prefix: string) =>
  parameterCount(specs.filter(({ path }) => path.startsWith(prefix)));
const shapesOf = (specs: readonly ParameterSpec[]) =>
  Object.fromEntries(specs.map(({ path, shape }) => [path, shape]));

Deno.test("gemma_2b has PaliGemma's 2.92 thousand million parameters", () => {
  const specs = backboneSpecs(VARIANTS.gemma_2b);
  const embedding = countOf(specs, "PaliGemma/llm/embedder");
  assert.equal(embedding, 526_647_296);
  assert.equal(Math.round((countOf(specs, "PaliGemma/llm") - embedding) / 1e6), 1982);
  const head = countOf(specs, "PaliGemma/img/head");
  // The usual 414 M of the encoder include its head, the projection to the language model.
  assert.equal(head, 1152 * 2048 + 2048);
  assert.ok(Math.abs(countOf(specs, "PaliGemma/img") / 1e6 - 414) < 1.5);
  assert.equal((parameterCount(specs) / 1e9).toFixed(2), "2.92");
});

Deno.test("gemma_2b's arrays have openpi's shapes", () => {
  const shapes = shapesOf(backboneSpecs(VARIANTS.gemma_2b));
  const expected: Record<string, number[]> = {
    "llm/embedder/input_embedding": [257152, 2048],
    "llm/layers/attn/q_einsum/w": [18, 8, 2048, 256],
    "llm/layers/attn/kv_einsum/w": [18, 2, 1, 2048, 256],
    "llm/layers/attn/attn_vec_einsum/w": [18, 8, 256, 2048],
    "llm/layers/mlp/gating_einsum": [18, 2, 2048, 16384],
    "llm/layers/mlp/linear": [18, 16384, 2048],
    "llm/layers/pre_attention_norm/scale": [18, 2048],
    "llm/layers/pre_ffw_norm/scale": [18, 2048],
    "llm/final_norm/scale": [2048],
    "img/embedding/kernel": [14, 14, 3, 1152],
    "img/pos_embedding": [1, 256, 1152],
    "img/head/kernel": [1152, 2048],
    "img/Transformer/encoderblock/MlpBlock_0/Dense_0/kernel": [27, 1152, 4304],
    "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/query/kernel": [27, 1152, 16, 72],
    "img/Transformer/encoderblock/MultiHeadDotProductAttention_0/out/kernel": [27, 16, 72, 1152],
  };
  for (const [path, shape] of Object.entries(expected)) {
    assert.deepEqual(shapes[`PaliGemma/${path}`], shape, path);
  }
});

Deno.test("gemma_2b_lora adds rank-16 factors of every attention and MLP matrix", () => {
  const base = shapesOf(backboneSpecs(VARIANTS.gemma_2b));
  const added = Object.entries(shapesOf(backboneSpecs(VARIANTS.gemma_2b_lora)))
    .filter(([path]) => !(path in base))
    .map(([path, shape]) => [path.replace("PaliGemma/llm/layers/", ""), shape]);
  assert.deepEqual(Object.fromEntries(added), {
    "attn/q_einsum/lora_a": [18, 8, 2048, 16],
    "attn/q_einsum/lora_b": [18, 8, 16, 256],
    "attn/kv_einsum/lora_a": [18, 2, 1, 2048, 16],
    "attn/kv_einsum/lora_b": [18, 2, 1, 16, 256],
    "attn/attn_vec_einsum/lora_a": [18, 8, 256, 16],
    "attn/attn_vec_einsum/lora_b": [18, 8, 16, 2048],
    "mlp/gating_einsum_lora_a": [18, 2, 2048, 16],
    "mlp/gating_einsum_lora_b": [18, 2, 16, 16384],
    "mlp/linear_lora_a": [18, 16384, 16],
    "mlp/linear_lora_b": [18, 16, 2048],
  });
});

Deno.test("drawParameters() follows each array's initializer", () => {
  const specs = valueHeadSpecs(400, 100);
  const drawn = drawParameters(specs, normalSource(5));
  const { data } = drawn.get("dense_0/kernel")!;
  const variance = data.reduce((sum, x) => sum + x * x, 0) / data.length;
  assert.ok(Math.abs(variance * 400 - 1) < 0.05, `variance times fan-in is ${variance * 400}`);
  assert.ok(drawn.get("out/kernel")!.data.every((x) => x === 0), "a fresh critic says 0");
});

function broken(path: string, change: (t: HostTensor) => HostTensor | undefined) {
  const specs = valueHeadSpecs(4, 3);
  const tensors = drawEverything(specs, 1);
  const changed = change(tensors.get(path)!);
  if (changed) tensors.set(path, changed);
  else tensors.delete(path);
  return () => new ParameterStore(specs, tensors);
}

Deno.test("a store refuses arrays that are missing or of another size, and keeps nothing", async () => {
  await useDevice("cpu");
  const before = countTensors();
  assert.throws(broken("dense_1/kernel", () => undefined), {
    name: "RangeError",
    message: "Cannot build the policy: parameter dense_1/kernel is missing",
  });
  assert.throws(broken("dense_1/kernel", (t) => ({ ...t, shape: [9] })), {
    message: "Cannot build the policy: parameter dense_1/kernel has shape [9], " +
      "the variant wants [3,3]",
  });
  assert.throws(broken("dense_1/kernel", (t) => ({ ...t, data: t.data.slice(1) })), {
    message: "Cannot build the policy: parameter dense_1/kernel of shape [3,3] has 8 values, " +
      "9 are needed",
  });
  assert.equal(countTensors(), before);
});

Deno.test("assign() writes new values in place, or nothing if one of them does not fit", async () => {
  await useDevice("cpu");
  const specs = backboneSpecs(MICRO);
  const store = new ParameterStore(specs, drawEverything(specs, 1));
  const variable = store.get("PaliGemma/llm/final_norm/scale");
  const before = countTensors();
  const next = [...drawEverything(specs, 2).values()];
  store.assign(next);
  assert.deepEqual(await store.toHost(), next);
  assert.equal(store.get("PaliGemma/llm/final_norm/scale"), variable);

  const other = [...drawEverything(specs, 3).values()];
  const last = other.length - 1;
  for (
    const [change, message] of [
      [{ name: "nobody/knows" }, /^The policy has no parameter nobody\/knows$/],
      [{ shape: [31] }, /^Cannot assign .*: shape \[31\], the policy wants \[32\]$/],
      [{ data: new Float32Array(3) }, /^Cannot assign: parameter .* has 3 values, 32 are needed$/],
    ] as const
  ) {
    const bad = [...other.slice(0, last), { ...other[last], ...change }];
    assert.throws(() => store.assign(bad), { name: "RangeError", message });
    assert.deepEqual(await store.toHost(), next);
  }
  assert.equal(countTensors(), before);
  store.dispose();
});

Deno.test("a store whose weights are kept elsewhere checks them and uploads nothing", async () => {
  await useDevice("cpu");
  const before = countTensors();
  const specs = backboneSpecs(MICRO);
  const tensors = drawEverything(specs, 3);
  const storage = { precision: "int8", isElsewhere: true } as const;
  const store = new ParameterStore(specs, tensors, storage);
  const path = "PaliGemma/llm/final_norm/scale";
  assert.deepEqual([store.precision, store.bytes, countTensors()], ["int8", 0, before]);
  assert.throws(() => store.weight(path), {
    name: "RangeError",
    message: `Cannot compute with parameter ${path}: a decode engine keeps it, which only acts; ` +
      "load the policy with --decoder tfjs",
  });
  store.assign([tensors.get(path)!]);
  const short = { name: path, shape: [3], data: new Float32Array(3) };
  assert.throws(() => store.assign([short]), /shape \[3\], the policy wants \[32\]/);
  tensors.delete(path);
  assert.throws(() => new ParameterStore(specs, tensors, storage), /final_norm\/scale is missing/);
  store.dispose();
});
