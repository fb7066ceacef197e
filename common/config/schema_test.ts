import assert from "node:assert/strict";
import fc from "fast-check";
import { describeRange } from "./field_spec.ts";
import { PRESETS } from "./presets.ts";
import { CONFIG_FIELDS } from "./schema.ts";
import { parseConfig } from "./rules.ts";

Deno.test("CONFIG_FIELDS describes every field of the presets, and no other", () => {
  const names = CONFIG_FIELDS.map(({ name }) => name).sort();
  for (const preset of Object.values(PRESETS)) assert.deepEqual(Object.keys(preset).sort(), names);
});

Deno.test("CONFIG_FIELDS ends every description with a full stop", () => {
  for (const { name, description } of CONFIG_FIELDS) assert.match(description, /^[A-Z].+\.$/, name);
});

Deno.test("every preset is a valid configuration", () => {
  for (const preset of Object.values(PRESETS)) assert.deepEqual(parseConfig(preset), preset);
});

Deno.test("the presets have the numbers of the original system", () => {
  const pick = (name: "debug" | "full") => {
    const { totalSteps, chunksPerUpdate, epochs, batchSize, learningRate } = PRESETS[name];
    const { actionDim, horizon, maxTokenLen, variant } = PRESETS[name];
    return [
      [totalSteps, chunksPerUpdate, epochs, batchSize, learningRate],
      [actionDim, horizon, maxTokenLen, variant],
    ];
  };
  assert.deepEqual(pick("debug"), [[5000, 32, 2, 8, 1e-4], [7, 10, 180, "tiny"]]);
  assert.deepEqual(pick("full"), [[500_000, 128, 4, 32, 3e-4], [14, 16, 180, "gemma_2b"]]);
  assert.equal(PRESETS.full.valueHeadHiddenDim, 512);
  assert.equal(PRESETS.full.maxValueSteps, 32);
});

Deno.test("describeRange() says what is taken", () => {
  assert.equal(
    describeRange({ kind: "integer", minimum: 0, maximum: 9 }),
    "an integer from 0 to 9",
  );
  assert.equal(
    describeRange({ kind: "number", above: 0, below: 1 }),
    "a number above 0 and below 1",
  );
  assert.equal(describeRange({ kind: "integer" }), "an integer");
  assert.equal(describeRange({ kind: "choice", choices: [7, 14] }), "one of 7, 14");
  assert.equal(describeRange({ kind: "string" }), "a text");
});

Deno.test("parseConfig() throws one RangeError for any wrong field, and names it", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...CONFIG_FIELDS.map(({ name }) => name)),
      fc.oneof(fc.constant(undefined), fc.constant(null), fc.constant(NaN), fc.constant([])),
      (name, value) => {
        assert.throws(() => parseConfig({ ...PRESETS.debug, [name]: value }), (error) => {
          assert.ok(error instanceof RangeError);
          assert.match(error.message, new RegExp(`^Invalid configuration: ${name} is .+\\.$`));
          return true;
        });
      },
    ),
    { numRuns: 100, seed: 1 },
  );
});
