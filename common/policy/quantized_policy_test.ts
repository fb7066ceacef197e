import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import type { Precision } from "../config/config.ts";
import { seededRandom } from "../random.ts";
import type { HostTensor } from "../types.ts";
import { ActorCritic } from "./actor_critic.ts";
import { useDevice } from "./backend.ts";
import { assignWeights, policySignature, readWeights } from "./load.ts";
import { postfixLosses } from "./network.ts";
import { backboneSpecs, ParameterStore, valueHeadSpecs } from "./parameters.ts";
import { comparePolicies } from "./precision_gap.ts";
import type { Variable } from "./tensors.ts";
import {
  ACTION_DIM,
  countTensors,
  drawEverything,
  HORIZON,
  makeAssets,
  makeObservations,
  maxDifference,
  MICRO,
  MICRO_LORA,
  take,
} from "./testing.ts";
import type { PolicyVariant } from "./variants.ts";

/** Why WebGPU cannot be tested here; undefined if it can. */
async function whyNoWebgpu(): Promise<string | undefined> {
  if (!navigator.gpu) return "this Deno has no navigator.gpu";
  if (await navigator.gpu.requestAdapter()) return undefined;
  return "there is no WebGPU adapter; Debian's mesa-vulkan-drivers gives a software one";
}

const reason = await whyNoWebgpu();
if (reason) console.log(`Tests of the quantised policy on webgpu are skipped: ${reason}.`);
const PRECISIONS = ["int8", "int4"] as const;

function build(
  variant: PolicyVariant,
  precision: Precision,
  weights?: readonly HostTensor[],
): ActorCritic {
  const specs = backboneSpecs(variant);
  const head = valueHeadSpecs(variant.gemma.width, 16);
  const tensors = weights
    ? new Map(weights.map((tensor) => [tensor.name, tensor]))
    : drawEverything(specs, 1);
  return new ActorCritic(
    {
      variant,
      horizon: HORIZON,
      actionDim: ACTION_DIM,
      maxTokenLen: 64,
      valueHeadHiddenDim: 16,
      valueInput: "observation",
      maxValueSteps: 8,
      isCriticDetached: false,
    },
    makeAssets(),
    new ParameterStore(specs, tensors, { precision }),
    new ParameterStore(head, drawEverything(head, 2)),
  );
}

/** A float32 policy with the numbers that a quantised one computes with. */
async function dequantized(policy: ActorCritic): Promise<ActorCritic> {
  const { variant } = policy.shape;
  return build(variant, "float32", await policy.network.backbone.toHost());
}

const observations = makeObservations(4, 3);

for (const precision of PRECISIONS) {
  Deno.test(`a policy in ${precision} computes what float32 does with the same weights`, async () => {
    await useDevice("wasm");
    const before = countTensors();
    {
      using quantized = build(MICRO, precision);
      using floats = await dequantized(quantized);
      assert.equal(quantized.network.backbone.precision, precision);
      assert.ok(quantized.network.backbone.bytes < 0.6 * floats.network.backbone.bytes);
      const options = { temperature: 1, random: seededRandom(3) };
      const chunks = await quantized.sampleActions(observations, options);
      const tokens = chunks.map((chunk) => chunk.tokens);
      const own = await quantized.computeActionChunkLogProb(observations, tokens);
      const other = await floats.computeActionChunkLogProb(observations, tokens);
      assert.ok(maxDifference(own, chunks.map((c) => c.logProb)) < 2e-4, "behaviour log-probs");
      assert.ok(maxDifference(own, other) < 2e-4, `${own} and ${other}`);
      const values = await floats.computeActionChunkValue(observations, tokens);
      assert.ok(maxDifference(values, chunks.map((c) => c.value)) < 2e-4);
      const { input } = quantized.prepareChunks(observations, tokens);
      const loss = ({ network }: ActorCritic) =>
        take(tf.tidy(() => postfixLosses(network, input, tokens)));
      assert.ok(maxDifference(await loss(quantized), await loss(floats)) < 1e-4);
    }
    assert.equal(countTensors(), before);
  });

  Deno.test(`adapters and critic train through ${precision} weights as through float32`, async () => {
    await useDevice("wasm");
    using quantized = build(MICRO_LORA, precision);
    using floats = await dequantized(quantized);
    const random = seededRandom(5);
    const chunks = await quantized.sampleActions(observations, { temperature: 1, random });
    const gradients = async (policy: ActorCritic) => {
      const { backbone, valueHead } = policy.network;
      const variables: Variable[] = [
        ...backbone.select((path) => path.includes("lora") || path.includes("norm")),
        ...valueHead.select(() => true),
      ];
      const prepared = policy.prepareChunks(observations, chunks.map((c) => c.tokens));
      const loss = () => {
        const { logProb, value } = policy.evaluate(prepared);
        return tf.add(tf.sum(logProb), tf.sum(value)) as tf.Scalar;
      };
      const { value, grads } = tf.variableGrads(loss, variables as tf.Variable[]);
      value.dispose();
      return await Promise.all(variables.map((variable) => take(grads[variable.name])));
    };
    const [own, other] = [await gradients(quantized), await gradients(floats)];
    own.forEach((gradient, i) => {
      const scale = Math.max(1e-3, ...other[i].map(Math.abs));
      assert.ok(maxDifference(gradient, other[i]) < 2e-3 * scale, `variable ${i}`);
    });
    assert.ok(own.flatMap((g) => [...g]).some((x) => x !== 0));
  });

  if (!reason) {
    Deno.test(`a policy in ${precision} computes the same on webgpu as on cpu`, async () => {
      const run = async (device: "cpu" | "webgpu") => {
        await useDevice(device);
        using policy = build(MICRO, precision);
        const [chunk] = await policy.sampleActions(observations.slice(0, 1), {
          temperature: 0,
          random: seededRandom(1),
        });
        const [logProb] = await policy.computeActionChunkLogProb(
          observations.slice(0, 1),
          [chunk.tokens],
        );
        return { chunk, logProb };
      };
      const [cpu, gpu] = [await run("cpu"), await run("webgpu")];
      await useDevice("wasm");
      assert.deepEqual(gpu.chunk.tokens, cpu.chunk.tokens);
      assert.ok(Math.abs(gpu.chunk.logProb - cpu.chunk.logProb) < 1e-3);
      assert.ok(Math.abs(gpu.logProb - cpu.logProb) < 1e-3);
    });
  }
}

Deno.test("200 chunks of a quantised policy leave no tensor behind", async () => {
  await useDevice("wasm");
  using policy = build(MICRO, "int8");
  const options = { temperature: 1, random: seededRandom(1) };
  const batch = makeObservations(4, 8);
  await policy.sampleActions(batch, options);
  const [tensors, bytes] = [countTensors(), tf.memory().numBytes];
  for (let i = 0; i < 25; i++) await policy.sampleActions(batch, options);
  assert.deepEqual([countTensors(), tf.memory().numBytes], [tensors, bytes]);
});

Deno.test("assignWeights() quantises what a float32 learner sends, in place", async () => {
  await useDevice("wasm");
  using learner = build(MICRO, "float32");
  using controller = build(MICRO, "int8", [...drawEverything(backboneSpecs(MICRO), 9).values()]);
  assert.deepEqual(policySignature(controller, 1), policySignature(learner, 1));
  const before = countTensors();
  assignWeights(controller, await readWeights(learner));
  assert.equal(countTensors(), before);
  using fresh = build(MICRO, "int8");
  const host = (policy: ActorCritic) => policy.network.backbone.toHost();
  assert.deepEqual(await host(controller), await host(fresh));
});

Deno.test("a quantised policy refuses to have its matrices trained, and says what to do", async () => {
  await useDevice("cpu");
  using policy = build(MICRO, "int8");
  const { backbone } = policy.network;
  assert.throws(() => backbone.select(() => true), {
    name: "RangeError",
    message: /^Cannot train parameter PaliGemma\/.*: it is kept in 8 bits; train the adapters/,
  });
  assert.throws(() => backbone.get("PaliGemma/llm/embedder/input_embedding"), /kept in 8 bits/);
});

Deno.test("comparePolicies() finds nothing between equals, and more the fewer the bits", async () => {
  await useDevice("wasm");
  using floats = build(MICRO, "float32");
  const gaps = [];
  for (const precision of ["float32", ...PRECISIONS] as const) {
    using policy = build(MICRO, precision);
    const random = seededRandom(2);
    gaps.push(await comparePolicies(policy, floats, observations, { temperature: 1, random }));
  }
  const [same, int8, int4] = gaps;
  assert.ok(same.maxLogProbGap < 1e-5 && same.meanKl < 1e-6 && same.greedyShare === 1);
  assert.ok(int8.meanKl > 0 && int8.meanKl < int4.meanKl);
  assert.ok(int8.meanLogProbGap <= int8.maxLogProbGap && int8.tokens >= int8.chunks);
  const none = { temperature: 1, random: seededRandom(2) };
  await assert.rejects(comparePolicies(floats, floats, [], none), /there are no observations/);
});
