import assert from "node:assert/strict";
import { makeObservations, maxDifference, MICRO, MICRO_LORA } from "../policy/testing.ts";
import { seededRandom } from "../random.ts";
import { matmulFormats } from "./bind_matmul.ts";
import { DecodeEngine } from "./decode_engine.ts";
import { adapterShapes } from "./engine_adapters.ts";
import { engineModelOf } from "./engine_model.ts";
import { decodeWithTfjs, hasAdapter } from "./testing.ts";
import { assertSame, GREEDY, openMicro, strongAdapters } from "./testing_micro.ts";

const ignore = !await hasAdapter();

/** Rows of 20 and 33 numbers, which no group of 32 fits, an odd number of heads and a rank of 8. */
const ODD_LORA = {
  ...MICRO_LORA,
  gemma: {
    ...MICRO_LORA.gemma,
    width: 20,
    mlpDim: 33,
    heads: 3,
    headDim: 12,
    lora: { rank: 8, alpha: 4 },
  },
};

/** So wide that x·A is summed in several parts, at the rank of the real models. */
const WIDE_LORA = {
  ...MICRO_LORA,
  gemma: {
    ...MICRO_LORA.gemma,
    width: 544,
    depth: 1,
    mlpDim: 1060,
    lora: { rank: 16, alpha: 16 },
  },
};

Deno.test({
  name: "DecodeEngine decodes with adapters as tfjs does",
  ignore,
  async fn() {
    for (const variant of [MICRO_LORA, ODD_LORA, WIDE_LORA]) {
      using micro = await openMicro({ variant });
      const { policy, engine } = micro;
      assert.equal(engine.dispatchesPerToken, 10 * variant.gemma.depth + 2);
      for (const observation of makeObservations(5, 3)) {
        const expected = await decodeWithTfjs(policy, observation, GREEDY);
        engine.prefill(expected.prefix);
        assertSame(await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens }), expected);
      }
    }
  },
});

Deno.test({
  name: "DecodeEngine draws with adapters in split matrices, with cameras hidden, as tfjs does",
  ignore,
  async fn() {
    const options = { maxBindingBytes: 1024, stepsPerSubmit: 3 };
    using micro = await openMicro({ variant: MICRO_LORA, valueInput: "chunk" }, options);
    const { policy, engine } = micro;
    const cameraMask = [true, false, true];
    for (const [i, observation] of makeObservations(6, 2).entries()) {
      const sampling = () => ({ temperature: 0.9, random: seededRandom(i) });
      const expected = await decodeWithTfjs(policy, observation, { ...sampling(), cameraMask });
      engine.prefill(expected.prefix);
      assertSame(await engine.sample({ ...sampling(), maxTokens: expected.maxTokens }), expected);
    }
  },
});

Deno.test({
  name: "DecodeEngine decodes with adapters behind every product that a prefill may round for",
  ignore,
  async fn() {
    using micro = await openMicro({ variant: MICRO_LORA });
    const { policy, gpu, weights } = micro;
    const expected = await decodeWithTfjs(policy, makeObservations(4, 1)[0], GREEDY);
    const formats = matmulFormats(gpu);
    assert.ok(formats.length > 0);
    for (const matmul of formats) {
      using engine = await DecodeEngine.create(gpu, engineModelOf(policy), weights, { matmul });
      engine.prefill(expected.prefix);
      const sample = await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
      // The first token has seen nothing but the prefix; the adapters' own sums are float32.
      const gap = Math.abs(sample.logProbs[0] - expected.logProbs[0]);
      assert.ok(gap < { float32: 1e-4, float16: 5e-3, int8: 5e-2 }[matmul], `${matmul}: ${gap}`);
    }
  },
});

Deno.test({
  name: "DecodeEngine.updateWeights() writes adapters and critic without making anything",
  ignore,
  async fn() {
    using micro = await openMicro({ variant: MICRO_LORA });
    const { policy, engine } = micro;
    const [buffers, pipelines] = [engine.buffersCreated, engine.pipelines];
    const observation = makeObservations(7, 1)[0];
    const before = await decodeWithTfjs(policy, observation, GREEDY);
    const { prefix, maxTokens } = before;
    engine.prefill(prefix);
    const first = await engine.sample({ ...GREEDY, maxTokens });
    assertSame(first, before);

    const adapters = await strongAdapters(policy, 99);
    const critic = (await policy.network.valueHead.toHost()).map((tensor) => ({
      ...tensor,
      data: tensor.data.map((x) => 0.5 - x),
    }));
    policy.network.backbone.assign(adapters);
    policy.network.valueHead.assign(critic);
    const after = await decodeWithTfjs(policy, observation, GREEDY);
    assert.ok(maxDifference(after.logProbs, before.logProbs) > 0.1, "the adapters matter");
    assert.ok(Math.abs(after.value - before.value) > 0.1, "the critic matters");
    const named = critic.map((tensor) => ({ ...tensor, name: `value_head/${tensor.name}` }));
    engine.updateWeights([...adapters, ...named]);
    await assert.rejects(engine.sample({ ...GREEDY, maxTokens }), /nothing has been prefilled/);
    engine.prefill(prefix);
    assertSame(await engine.sample({ ...GREEDY, maxTokens }), after);
    assert.deepEqual([engine.buffersCreated, engine.pipelines], [buffers, pipelines]);
  },
});

Deno.test({
  name: "DecodeEngine.updateWeights() refuses adapters that do not fit and writes none of them",
  ignore,
  async fn() {
    using micro = await openMicro({ variant: MICRO_LORA });
    const { policy, engine, weights } = micro;
    const expected = await decodeWithTfjs(policy, makeObservations(8, 1)[0], GREEDY);
    const [good, bad] = await strongAdapters(policy, 3);
    const [matrix] = weights.matrices.values();
    const wrong = [
      [{ ...bad, shape: [1, 2] }, /of shape \[1,2\] with \d+ numbers .+ it wants \[/],
      [{ ...bad, data: new Float32Array(3) }, /with 3 numbers into/],
      [{ ...bad, name: "PaliGemma/llm/layers/mlp/lora" }, /has no parameter .+mlp\/lora$/],
      [{ ...matrix, name: bad.name }, /in 8 bits .+ it wants float32$/],
    ] as const;
    for (const [tensor, message] of wrong) {
      assert.throws(() => engine.updateWeights([good, tensor]), { name: "RangeError", message });
    }
    engine.prefill(expected.prefix);
    assertSame(await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens }), expected);
  },
});

Deno.test({
  name: "DecodeEngine stops at an adapter that is not finite, and goes on with a better one",
  ignore,
  async fn() {
    using micro = await openMicro({ variant: MICRO_LORA });
    const { policy, engine, weights } = micro;
    const { prefix, maxTokens, ...expected } = await decodeWithTfjs(
      policy,
      makeObservations(9, 1)[0],
      GREEDY,
    );
    for (const name of adapterShapes(policy.shape.variant.gemma).keys()) {
      const tensor = weights.floats.get(name)!;
      const data = tensor.data.slice();
      data[data.length - 1] = NaN;
      engine.updateWeights([{ ...tensor, data }]);
      engine.prefill(prefix);
      await assert.rejects(
        engine.sample({ ...GREEDY, maxTokens }),
        { name: "NonFiniteError" },
        name,
      );
      engine.updateWeights([tensor]);
    }
    engine.prefill(prefix);
    const sample = await engine.sample({ ...GREEDY, maxTokens });
    assertSame(sample, { prefix, maxTokens, ...expected });
  },
});

Deno.test("adapterShapes() has none for a model without adapters", () => {
  assert.equal(adapterShapes(MICRO.gemma).size, 0);
  assert.equal(adapterShapes(MICRO_LORA.gemma).size, 10);
});
