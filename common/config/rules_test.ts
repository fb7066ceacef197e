import assert from "node:assert/strict";
import type { Config } from "./config.ts";
import { PRESETS } from "./presets.ts";
import { parseConfig } from "./rules.ts";

/** The message of what `parseConfig` throws for the debug preset with some fields replaced. */
function refusal(changes: Record<string, unknown>): string {
  try {
    parseConfig({ ...PRESETS.debug, ...changes });
  } catch (error) {
    assert.ok(error instanceof RangeError);
    return error.message;
  }
  return assert.fail("nothing was thrown");
}

Deno.test("parseConfig() says value and bound of a field out of range", () => {
  assert.equal(
    refusal({ gamma: 1.5 }),
    "Invalid configuration: gamma is 1.5, but it takes a number from 0 to 1 (per control step or " +
      "chunk).",
  );
  assert.equal(
    refusal({ actionDim: 8 }),
    "Invalid configuration: actionDim is 8, but it takes one of 7, 14.",
  );
});

Deno.test("parseConfig() names all wrong fields at once", () => {
  const { seed: _, ...rest } = PRESETS.debug;
  assert.throws(
    () => parseConfig({ ...rest, epochs: 0, sed: 1 }),
    /seed is missing: set it to an integer.*; epochs is 0.*; sed is not a field of the configuration/,
  );
});

Deno.test("parseConfig() refuses what is not a record", () => {
  for (const input of [null, 3, "x", []]) assert.throws(() => parseConfig(input), RangeError);
});

Deno.test("parseConfig() checks texts that are paths, names and addresses", () => {
  for (const expName of ["", "a/b", "..", "-x", "a".repeat(81)]) {
    assert.match(refusal({ expName }), /expName is ".*", but it takes a name of at most 80/);
  }
  assert.match(refusal({ learnerUrl: "http://x" }), /it takes a WebSocket address such as ws:/);
  assert.match(refusal({ databaseUrl: "postgres://x" }), /it takes an SQLite file as a path/);
  for (const databaseUrl of ["", "runs.sqlite", "/a/b.db", "sqlite:c.db", "C:\\runs.db"]) {
    assert.equal(parseConfig({ ...PRESETS.debug, databaseUrl }).databaseUrl, databaseUrl);
  }
});

Deno.test("parseConfig() checks what must hold between fields", async (t) => {
  const cases: readonly [Partial<Config>, RegExp][] = [
    [
      { executeSteps: 4, executeStepsFinal: 11 },
      /executeSteps, .* are 4, 11 and 1, but a chunk has only 10 control steps/,
    ],
    [{ constrainedDecoding: false, decoder: "engine", device: "webgpu" }, /engine, which always/],
    [{ holdWeights: 3 }, /holdWeights is 3, but chunks that are more than 2 versions old/],
    [{ batchSize: 33 }, /batchSize is 33, but an update has only 32 chunks: lower it, or raise/],
    [
      { microBatchSize: 9 },
      /microBatchSize is 9, but a batch has only 8 chunks: lower it, or raise/,
    ],
    [{ dualClip: 1 }, /dualClip is 1, but it takes a number above 1, or 0 for none/],
    [
      { clipRangeHigh: 0.1 },
      /clipRangeHigh is 0.1, which is narrower than clipRange, 0.2: raise it/,
    ],
    [
      { trainScope: "lora" },
      /trainScope is lora, but variant tiny has no adapters: set it to full/,
    ],
    [{ imitationKlTarget: 0.01 }, /imitationKlTarget is 0.01, but klWeight is 0, from where no/],
    [{ demonstrations: "a" }, /demonstrations names a, but imitationWeight is 0: raise it/],
    [{ maxEpisodeSteps: 9 }, /horizon is 10, but an episode ends after 9 control steps/],
    [{ totalSteps: 319 }, /totalSteps is 319, but one update of 32 chunks of 10 steps takes 320/],
    [{ outboxCapacity: 3 }, /outboxCapacity is 3, but 4 environments .* at least 4/],
    [{ task: "transfer_cube" }, /actionDim is 7, but transfer_cube needs both arms: set it to 14/],
    [
      { decoder: "engine" },
      /runs on a GPU, but device is wasm: set it to webgpu, or decoder to tfjs/,
    ],
    [{ resume: true, checkpoint: "x" }, /checkpoint names x: give only one of the two/],
    [{ host: "0.0.0.0" }, /host is 0.0.0.0, .* name a file that holds one with tokenFile/],
  ];
  for (const [changes, message] of cases) {
    await t.step(Object.keys(changes).join(), () => assert.match(refusal(changes), message));
  }
});

Deno.test("parseConfig() lets a run with a number of updates have few steps", () => {
  assert.equal(parseConfig({ ...PRESETS.debug, updates: 1, totalSteps: 1 }).totalSteps, 1);
});

Deno.test("parseConfig() lets a server with a token bind to any address", () => {
  const open = { ...PRESETS.debug, host: "0.0.0.0", tokenFile: "token" };
  assert.equal(parseConfig(open).host, "0.0.0.0");
});

Deno.test("parseConfig() spells names as it is told", () => {
  assert.throws(
    () => parseConfig({ ...PRESETS.debug, gamma: 2 }, (field) => `<${field}>`),
    /<gamma> is 2/,
  );
});
