import assert from "node:assert/strict";
import { openAny } from "../device/testing.ts";
import { useDevice } from "../policy/backend.ts";
import { makeObservations, makePolicy, MICRO_LORA } from "../policy/testing.ts";
import { benchEngine, benchLines } from "./bench.ts";
import { DecodeEngine } from "./decode_engine.ts";
import { engineModelOf } from "./engine_model.ts";
import { decodeWithTfjs, hasAdapter, quantizePolicy } from "./testing.ts";

Deno.test({
  name: "benchEngine() measures an engine, which then goes on as before",
  ignore: !await hasAdapter(),
  async fn() {
    await useDevice("cpu");
    using policy = makePolicy({ variant: MICRO_LORA });
    const weights = await quantizePolicy(policy, 8);
    using gpu = await openAny();
    using engine = await DecodeEngine.create(gpu, engineModelOf(policy), weights);
    const greedy = { temperature: 0, random: () => 0 };
    const expected = await decodeWithTfjs(policy, makeObservations(1, 1)[0], greedy);
    const update = [...weights.floats.values()].filter(({ name }) => /^value_head|lora/.test(name));
    const bench = await benchEngine(gpu, engine, expected.prefix, 1, update);
    assert.equal(update.length, 10 + 6);
    assert.equal(bench.dispatchesPerToken, 10 * policy.shape.variant.gemma.depth + 2);
    assert.ok(bench.bytesPerToken > engine.weightBytesPerToken);
    assert.ok(Object.values(bench).every((n) => Number.isFinite(n) && n > 0));
    assert.equal(benchLines(bench, gpu).length, 7);
    engine.prefill(expected.prefix);
    const { tokens } = await engine.sample({ ...greedy, maxTokens: expected.maxTokens });
    assert.deepEqual([...tokens], expected.tokens);
  },
});
