import assert from "node:assert/strict";
import fc from "fast-check";
import { makeObservations, MICRO_LORA } from "../policy/testing.ts";
import { seededRandom } from "../random.ts";
import { type EnginePrefix, prefixKey } from "./engine_prefix.ts";
import { decodeWithTfjs, hasAdapter } from "./testing.ts";
import { assertSame, GREEDY, openMicro } from "./testing_micro.ts";

const ignore = !await hasAdapter();

Deno.test({
  name: "DecodeEngine.prefill() leaves out a prefix that the cache holds; chunks are the same",
  ignore,
  async fn() {
    using micro = await openMicro({ variant: MICRO_LORA }, { stepsPerSubmit: 4 });
    const { policy, engine } = micro;
    const [observation, other] = makeObservations(5, 2);
    for (let seed = 0; seed < 4; seed++) {
      const sampling = () => ({ temperature: 1, random: seededRandom(seed) });
      const expected = await decodeWithTfjs(policy, observation, sampling());
      const { maxTokens } = expected;
      const prefix = { ...expected.prefix, imagesVersion: 7 };
      assert.equal(engine.prefill(prefix), seed === 0, `seed ${seed}`);
      const kept = await engine.sample({ ...sampling(), maxTokens });
      assertSame(kept, expected);
      // To the last bit what a fresh cache gives.
      assert.equal(engine.prefill(expected.prefix), true);
      assert.deepEqual(await engine.sample({ ...sampling(), maxTokens }), kept);
      engine.prefill(prefix);
    }
    const expected = await decodeWithTfjs(policy, other, GREEDY);
    assert.equal(engine.prefill({ ...expected.prefix, imagesVersion: 8 }), true);
    assertSame(await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens }), expected);
  },
});

Deno.test({
  name: "DecodeEngine.prefill() computes a prefix anew when anything may have changed",
  ignore,
  async fn() {
    using micro = await openMicro({}, {}, { spareTokens: 4 });
    const { policy, engine, weights } = micro;
    const { prefix: seen, maxTokens } = await decodeWithTfjs(
      policy,
      makeObservations(6, 1)[0],
      GREEDY,
    );
    const prefix: EnginePrefix = { ...seen, imagesVersion: 1 };
    const changes: Partial<EnginePrefix>[] = [
      { imagesVersion: 2 },
      { imagesVersion: undefined },
      { prompt: prefix.prompt.map((id, i) => i === 1 ? id + 1 : id) },
      { prompt: prefix.prompt.slice(1) },
      { forced: Int32Array.of(...prefix.forced, 5) },
      { cameraMask: [true, true, false] },
      { promptPlaces: prefix.prompt.length + 1 },
    ];
    for (const change of changes) {
      engine.prefill(prefix);
      assert.equal(engine.prefill(prefix), false);
      assert.equal(engine.prefill({ ...prefix, ...change }), true, JSON.stringify(change));
      assert.equal(engine.prefill(prefix), true, "the other one is in the cache");
    }
    assert.equal(engine.prefill({ ...prefix, promptPlaces: prefix.prompt.length }), false);
    // A prefix that was refused changes nothing.
    assert.throws(() => engine.prefill({ ...prefix, prompt: Int32Array.of(-1) }));
    assert.equal(engine.prefill(prefix), false);

    const norm = weights.floats.get("PaliGemma/llm/final_norm/scale")!;
    engine.updateWeights([{ ...norm, data: norm.data.map(() => NaN) }]);
    assert.equal(engine.prefill(prefix), true, "other weights");
    await assert.rejects(engine.sample({ ...GREEDY, maxTokens }), { name: "NonFiniteError" });
    assert.equal(engine.prefill(prefix), true, "a chunk that failed");
  },
});

Deno.test("prefixKey() is none for pictures that nobody vouches for", () => {
  const prefix = {
    imageTokens: new Float32Array(0),
    prompt: Int32Array.of(1),
    forced: Int32Array.of(2),
  };
  for (const imagesVersion of [undefined, NaN, Infinity]) {
    assert.equal(prefixKey({ ...prefix, imagesVersion }), undefined);
  }
  assert.equal(typeof prefixKey({ ...prefix, imagesVersion: 0 }), "string");
});

Deno.test("prefixKey() tells prefixes apart by every part of them", () => {
  const ids = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 });
  const prefixes = fc.record({
    prompt: ids,
    forced: ids,
    cameraMask: fc.option(fc.array(fc.boolean(), { maxLength: 2 }), { nil: undefined }),
    imagesVersion: fc.integer({ min: 0, max: 2 }),
    padding: fc.integer({ min: 0, max: 1 }),
  });
  fc.assert(
    fc.property(prefixes, prefixes, (a, b) => {
      const [one, two] = [a, b].map((parts): EnginePrefix => ({
        imageTokens: new Float32Array(0),
        prompt: Int32Array.from(parts.prompt),
        forced: Int32Array.from(parts.forced),
        cameraMask: parts.cameraMask,
        imagesVersion: parts.imagesVersion,
        promptPlaces: parts.prompt.length + parts.padding,
      }));
      const isSame = JSON.stringify(a) === JSON.stringify(b);
      assert.equal(prefixKey(one) === prefixKey(two), isSame);
    }),
    { numRuns: 300 },
  );
});
