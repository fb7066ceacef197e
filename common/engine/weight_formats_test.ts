import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { openAny } from "../device/testing.ts";
import type { ActorCritic } from "../policy/actor_critic.ts";
import { useDevice } from "../policy/backend.ts";
import { loadPolicy } from "../policy/load.ts";
import {
  makeObservations,
  makePolicy,
  maxDifference,
  MICRO_LORA,
  normalSource,
} from "../policy/testing.ts";
import { matrixLayout } from "../quant/matrix_layout.ts";
import {
  dequantizeTensor,
  type QuantizedTensor,
  type QuantizedWeights,
  quantizeTensor,
} from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import { matmulFormats } from "./bind_matmul.ts";
import { DecodeEngine, type EngineOptions } from "./decode_engine.ts";
import { engineModelOf } from "./engine_model.ts";
import { criticArrays, decodeWithTfjs, hasAdapter } from "./testing.ts";
import { openMicro } from "./testing_micro.ts";

const ignore = !await hasAdapter();
const REACH = fileURLToPath(new URL("../pretrained/reach", import.meta.url));
const GREEDY = { temperature: 0, random: () => 0 };

function loadReach() {
  return loadPolicy(REACH, {
    valueHeadHiddenDim: 16,
    valueInput: "observation",
    maxValueSteps: 8,
    isCriticDetached: true,
    normal: normalSource(1),
  });
}

/** A policy's arrays in float32, as an engine takes them. */
async function floatsOf(policy: ActorCritic): Promise<QuantizedWeights> {
  const tensors = [...await policy.network.backbone.toHost(), ...await criticArrays(policy)];
  return { matrices: new Map(), floats: new Map(tensors.map((tensor) => [tensor.name, tensor])) };
}

/** Decode with both, and compare each token. */
async function assertDecodesAlike(
  policy: ActorCritic,
  weights: QuantizedWeights,
  options: EngineOptions,
  { seed, count, tolerance }: {
    readonly seed: number;
    readonly count: number;
    readonly tolerance: number;
  },
): Promise<void> {
  using gpu = await openAny();
  using engine = await DecodeEngine.create(gpu, engineModelOf(policy), weights, options);
  const { imageSize } = policy.shape.variant.siglip;
  for (const observation of makeObservations(seed, count, imageSize)) {
    const expected = await decodeWithTfjs(policy, observation, GREEDY);
    engine.prefill(expected.prefix);
    const sample = await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
    assert.deepEqual([...sample.tokens], expected.tokens);
    const gap = maxDifference(sample.logProbs, expected.logProbs);
    assert.ok(gap < tolerance, `log-probabilities differ by ${gap}`);
  }
}

Deno.test({
  name: "DecodeEngine decodes the shipped policy in float32 as tfjs does",
  ignore,
  async fn() {
    await useDevice("wasm");
    const { policy } = await loadReach();
    using _policy = policy;
    const weights = await floatsOf(policy);
    await assertDecodesAlike(policy, weights, {}, { seed: 3, count: 8, tolerance: 1e-4 });
  },
});

Deno.test({
  name:
    "DecodeEngine decodes the shipped policy with the matrices in 8 bits that its variant names",
  ignore,
  async fn() {
    await useDevice("wasm");
    const { policy } = await loadReach();
    using _policy = policy;
    const weights = await floatsOf(policy);
    const { quantized } = policy.shape.variant;
    const rounded: HostTensor[] = [];
    for (const tensor of weights.floats.values()) {
      const layout = matrixLayout(tensor.name, tensor.shape, quantized);
      if (!layout || !tensor.name.includes("/llm/")) continue;
      rounded.push(dequantizeTensor(quantizeTensor(tensor, layout, 8)));
    }
    assert.equal(rounded.length, 2); // gate and up, down
    policy.network.backbone.assign(rounded);
    const options = { storage: { precision: "int8", quantized } } as const;
    await assertDecodesAlike(policy, weights, options, { seed: 4, count: 3, tolerance: 1e-4 });
  },
});

Deno.test({
  name: "DecodeEngine decodes with any mixture of float32 and few bits, split or whole",
  ignore,
  async fn() {
    await useDevice("cpu");
    const mixtures: readonly [RegExp, 8 | 4][] = [
      [/attn/, 8],
      [/q_einsum|mlp\/linear/, 4],
      [/embedding|attn_vec/, 8],
    ];
    for (const [i, [names, bits]] of mixtures.entries()) {
      using policy = makePolicy({}, 20 + i);
      const matrices = new Map<string, QuantizedTensor>();
      const { floats } = await floatsOf(policy);
      const rest = new Map(floats);
      for (const [name, tensor] of floats) {
        const layout = matrixLayout(name, tensor.shape);
        if (!layout || !name.includes("/llm/") || !names.test(name)) continue;
        matrices.set(name, quantizeTensor(tensor, layout, bits));
        rest.delete(name);
      }
      policy.network.backbone.assign([...matrices.values()].map(dequantizeTensor));
      const options = i === 0 ? {} : { maxBindingBytes: 4096 };
      const size = { seed: 30 + i, count: 1, tolerance: 1e-3 };
      await assertDecodesAlike(policy, { matrices, floats: rest }, options, size);
    }
  },
});

Deno.test({
  name: "DecodeEngine.updateWeights() writes few bits into matrices in float32",
  ignore,
  async fn() {
    await useDevice("cpu");
    using policy = makePolicy();
    using gpu = await openAny();
    const model = engineModelOf(policy);
    using engine = await DecodeEngine.create(gpu, model, await floatsOf(policy));
    const name = "PaliGemma/llm/layers/mlp/linear";
    const { floats } = await floatsOf(policy);
    const tensor = floats.get(name)!;
    const rounded = quantizeTensor(tensor, matrixLayout(name, tensor.shape)!, 4);
    policy.network.backbone.assign([dequantizeTensor(rounded)]);
    engine.updateWeights([rounded]);
    const expected = await decodeWithTfjs(policy, makeObservations(5, 1)[0], GREEDY);
    engine.prefill(expected.prefix);
    const sample = await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
    assert.deepEqual([...sample.tokens], expected.tokens);
    assert.ok(maxDifference(sample.logProbs, expected.logProbs) < 1e-3);
  },
});

Deno.test({
  name: "DecodeEngine decodes with prefills in half precision and in 8 bits as with exact ones",
  ignore,
  async fn() {
    await useDevice("wasm");
    const { policy } = await loadReach();
    using _policy = policy;
    using gpu = await openAny();
    const weights = await floatsOf(policy);
    const storage = { precision: "int8" } as const;
    const { imageSize } = policy.shape.variant.siglip;
    const [observation] = makeObservations(6, 1, imageSize);
    const expected = await decodeWithTfjs(policy, observation, GREEDY);
    const logProbs: number[][] = [];
    for (const matmul of matmulFormats(gpu)) {
      const options = { storage, matmul };
      using engine = await DecodeEngine.create(gpu, engineModelOf(policy), weights, options);
      engine.prefill(expected.prefix);
      const sample = await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
      logProbs.push([...sample.logProbs]);
      // Rounding hides no number that is not finite.
      const broken = Float32Array.from(expected.prefix.imageTokens as Float32Array);
      broken[broken.length - 3] = NaN;
      engine.prefill({ ...expected.prefix, imageTokens: broken });
      const failed = engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
      await assert.rejects(failed, { name: "NonFiniteError" }, matmul);
    }
    // Of the first token: later ones may be others. The formats do differ, and not by much.
    const [exact, ...rounded] = logProbs.map(([first]) => first);
    for (const first of rounded) {
      const gap = Math.abs(first - exact);
      assert.ok(gap > 0 && gap < 0.1, `${first}, exactly ${exact}`);
    }
  },
});

Deno.test({
  name: "DecodeEngine adapts prefills that round their inputs, with matrices in parts",
  ignore,
  async fn() {
    using gpu = await openAny();
    for (const matmul of matmulFormats(gpu).slice(1)) {
      const options = { matmul, maxBindingBytes: 1024 };
      using micro = await openMicro({ variant: MICRO_LORA }, options);
      const { policy, engine } = micro;
      const expected = await decodeWithTfjs(policy, makeObservations(7, 1)[0], GREEDY);
      engine.prefill(expected.prefix);
      const { logProbs: [first] } = await engine.sample({
        ...GREEDY,
        maxTokens: expected.maxTokens,
      });
      const tolerance = { float32: 1e-3, float16: 1e-2, int8: 0.1 }[matmul];
      const gap = Math.abs(first - expected.logProbs[0]);
      assert.ok(gap < tolerance, `${matmul}: ${gap}`);
    }
  },
});
