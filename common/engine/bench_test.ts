import assert from "node:assert/strict";
import { openAny } from "../device/testing.ts";
import { useDevice } from "../policy/backend.ts";
import { makeObservations, makePolicy } from "../policy/testing.ts";
import { benchEngine, benchLines } from "./bench.ts";
import { DecodeEngine } from "./decode_engine.ts";
import { engineModelOf } from "./engine_model.ts";
import { decodeWithTfjs, hasAdapter, quantizePolicy } from "./testing.ts";

Deno.test({
  name: "benchEngine() measures an engine, which then goes on as before",
  ignore: !await hasAdapter(),
  async fn() {
    await useDevice("cpu");
    using policy = makePolicy();
    const weights = await quantizePolicy(policy, 8);
    using gpu = await openAny();
    using engine = await DecodeEngine.create(gpu, engineModelOf(policy), weights);
    const greedy = { temperature: 0, random: () => 0 };
    const expected = await decodeWithTfjs(policy, makeObservations(1, 1)[0], greedy);
    const bench = await benchEngine(gpu, engine, expected.prefix, 1);
    assert.equal(bench.dispatchesPerToken, 6 * policy.shape.variant.gemma.depth + 2);
    assert.ok(bench.bytesPerToken > engine.weightBytesPerToken);
    assert.ok(Object.values(bench).every((n) => Number.isFinite(n) && n > 0));
    assert.equal(benchLines(bench, gpu).length, 6);
    engine.prefill(expected.prefix);
    const { tokens } = await engine.sample({ ...greedy, maxTokens: expected.maxTokens });
    assert.deepEqual([...tokens], expected.tokens);
  },
});
