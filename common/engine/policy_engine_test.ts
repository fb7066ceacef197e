import assert from "node:assert/strict";
import { whyNoWebgpu } from "../device/testing.ts";
import { assignWeights, readWeights } from "../policy/load.ts";
import { countTensors, makeObservations, maxDifference, MICRO_LORA } from "../policy/testing.ts";
import { seededRandom } from "../random.ts";
import { type ActingPolicyOptions, makeActingPolicy, withGpu } from "./testing_policy.ts";

const reason = await whyNoWebgpu();
if (reason) console.log(`Tests of the engine behind a policy are skipped: ${reason}.`);
const onGpu = { ignore: reason !== undefined };
const GREEDY = { temperature: 0, random: () => 0 };
/** Nats a token and units of value; numbers are of about 1. */
const TOLERANCE = 2e-3;

const CASES: readonly (Omit<ActingPolicyOptions, "hasEngine"> & { name: string })[] = [
  { name: "in int8", storage: { precision: "int8" } },
  {
    name: "with its MLPs in int4 and a critic that reads chunks",
    storage: { precision: "int4", quantized: ["mlp"] },
    valueInput: "chunk",
  },
  {
    name: "in float32 with adapters",
    storage: { precision: "float32" },
    variant: MICRO_LORA,
  },
];
for (const { name, ...changes } of CASES) {
  const { precision } = changes.storage!;
  Deno.test(`an engine acts as tfjs does for a policy ${name}`, onGpu, () =>
    withGpu(async () => {
      using plain = await makeActingPolicy({ hasEngine: false, ...changes });
      using acting = await makeActingPolicy({ hasEngine: true, ...changes });
      const seen = makeObservations(3, 4);
      const chunks = await acting.sampleActions(seen, GREEDY);
      const expected = await plain.sampleActions(seen, GREEDY);
      chunks.forEach((chunk, i) => {
        assert.deepEqual(chunk.tokens, expected[i].tokens);
        assert.deepEqual(chunk.actions, expected[i].actions);
        assert.deepEqual(chunk.behaviour, { precision, decoder: "engine" });
        const numbers = (c: typeof chunk) => [...c.tokenLogProbs, c.logProb, c.entropy, c.value];
        assert.ok(maxDifference(numbers(chunk), numbers(expected[i])) < TOLERANCE);
      });
      const values = await acting.observationValues(seen);
      assert.ok(maxDifference(values, await plain.observationValues(seen)) < TOLERANCE);
      const { times } = acting.decoder!;
      assert.equal(times.chunks, (changes.valueInput === "chunk" ? 8 : 4) - 1, "but the first");
      const parts = [times.visionMs, times.prefillMs, times.decodeMs];
      const isClocked = parts.every((ms) => ms !== null);
      if (isClocked) {
        assert.ok(maxDifference([parts[0]! + parts[1]! + parts[2]!], [times.chunkMs]) < 1e-6);
      }
      // Two who ask at once get what one after the other would.
      const both = [seen.slice(0, 1), seen.slice(1, 2)].map((one) =>
        acting.sampleActions(one, GREEDY)
      );
      const found = (await Promise.all(both)).flat().map(({ tokens }) => tokens);
      assert.deepEqual(found, expected.slice(0, 2).map(({ tokens }) => tokens));
    }, "wasm"));
}

Deno.test(
  "a policy with an engine takes new weights and leaks nothing",
  onGpu,
  () =>
    withGpu(async () => {
      const before = countTensors();
      {
        using acting = await makeActingPolicy({ hasEngine: true });
        using learner = await makeActingPolicy({ hasEngine: false, seed: 7 });
        const seen = makeObservations(5, 3);
        const weights = await readWeights(learner);
        assignWeights(acting, weights);
        const chunks = await acting.sampleActions(seen, GREEDY);
        const expected = await learner.sampleActions(seen, GREEDY);
        assert.deepEqual(chunks.map((c) => c.tokens), expected.map((c) => c.tokens));
        const short = weights.map((t) =>
          t.name.endsWith("final_norm/scale") ? { ...t, shape: [3], data: new Float32Array(3) } : t
        );
        assert.throws(() => assignWeights(acting, short), { name: "RangeError" });
        const again = await acting.sampleActions(seen, GREEDY);
        assert.deepEqual(again.map((c) => c.tokens), chunks.map((c) => c.tokens));
      }
      assert.equal(countTensors(), before);
    }),
);

Deno.test(
  "a policy with an engine is not evaluated, trained or read back",
  onGpu,
  () =>
    withGpu(async () => {
      using acting = await makeActingPolicy({ hasEngine: true });
      const seen = makeObservations(6, 1);
      const [{ tokens }] = await acting.sampleActions(seen, {
        temperature: 1,
        random: seededRandom(1),
      });
      const sentence =
        "Cannot evaluate chunks: a decoder has the policy's weights and only acts; " +
        "load the policy with --decoder tfjs";
      await assert.rejects(acting.computeActionChunkLogProb(seen, [tokens]), { message: sentence });
      await assert.rejects(readWeights(acting), /^RangeError: Cannot read back .+ --decoder tfjs$/);
      assert.throws(
        () => acting.network.backbone.select((path) => path.includes("norm")),
        /^RangeError: Cannot train parameter .+ a decode engine keeps it/,
      );
    }),
);
