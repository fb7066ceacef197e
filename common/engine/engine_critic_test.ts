import assert from "node:assert/strict";
import { makeObservations } from "../policy/testing.ts";
import { DecodeEngine } from "./decode_engine.ts";
import { criticShapes } from "./engine_critic.ts";
import { engineModelOf } from "./engine_model.ts";
import { decodeWithTfjs, hasAdapter } from "./testing.ts";
import { assertSame, GREEDY, openMicro } from "./testing_micro.ts";

const ignore = !await hasAdapter();
const TOLERANCE = 1e-3;

Deno.test({
  name: "DecodeEngine values observations and chunks as the policy does",
  ignore,
  async fn() {
    // A width that nothing divides; a chunk critic that reads fewer states than there are tokens.
    const shapes = [
      { valueInput: "observation", valueHeadHiddenDim: 33 },
      { valueInput: "chunk", maxValueSteps: 3 },
    ] as const;
    for (const shape of shapes) {
      using micro = await openMicro(shape, { stepsPerSubmit: 2 });
      const { policy, engine } = micro;
      for (const observation of makeObservations(5, 2)) {
        const expected = await decodeWithTfjs(policy, observation, GREEDY);
        const { prefix, maxTokens } = expected;
        engine.prefill(prefix);
        assertSame(await engine.sample({ ...GREEDY, maxTokens }), expected);
        const [value] = await policy.observationValues([observation]);
        engine.prefill(prefix);
        const ours = await engine.observationValue(maxTokens);
        assert.ok(Math.abs(ours - value) < TOLERANCE, `${shape.valueInput}: ${ours}, not ${value}`);
        await assert.rejects(engine.observationValue(maxTokens), /nothing has been prefilled/);
      }
    }
  },
});

Deno.test({
  name: "DecodeEngine refuses a value that is not finite, and goes on with a better critic",
  ignore,
  async fn() {
    for (const valueInput of ["observation", "chunk"] as const) {
      using micro = await openMicro({ valueInput });
      const { policy, engine, weights } = micro;
      const expected = await decodeWithTfjs(policy, makeObservations(6, 1)[0], GREEDY);
      const { prefix, maxTokens } = expected;
      for (const name of criticShapes(engine.model).keys()) {
        const tensor = weights.floats.get(name)!;
        engine.updateWeights([{ ...tensor, data: tensor.data.map((x, i) => i === 0 ? NaN : x) }]);
        const refusal = {
          name: "NonFiniteError",
          message: /computed NaN for the value of a chunk/,
        };
        engine.prefill(prefix);
        await assert.rejects(engine.sample({ ...GREEDY, maxTokens }), refusal, name);
        engine.prefill(prefix);
        await assert.rejects(engine.observationValue(maxTokens), refusal, name);
        engine.updateWeights([tensor]);
      }
      engine.prefill(prefix);
      assertSame(await engine.sample({ ...GREEDY, maxTokens }), expected);
    }
  },
});

Deno.test({
  name: "DecodeEngine without a critic wants no weights of one and gives the value 0",
  ignore,
  async fn() {
    using micro = await openMicro();
    const { policy, gpu, weights } = micro;
    const { critic: _, ...model } = engineModelOf(policy);
    const floats = new Map([...weights.floats].filter(([name]) => !name.startsWith("value_head/")));
    using engine = await DecodeEngine.create(gpu, model, { ...weights, floats });
    assert.ok(engine.weightNames.every((name) => name.startsWith("PaliGemma/llm/")));
    const expected = await decodeWithTfjs(policy, makeObservations(7, 1)[0], GREEDY);
    engine.prefill(expected.prefix);
    const sample = await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
    assertSame(sample, { ...expected, value: 0 });
    engine.prefill(expected.prefix);
    assert.equal(await engine.observationValue(expected.maxTokens), 0);
    const none = {
      ...engineModelOf(policy),
      critic: { ...engineModelOf(policy).critic!, maxSteps: 0 },
    };
    await assert.rejects(DecodeEngine.create(gpu, none, weights), /reads 0 states/);
  },
});
