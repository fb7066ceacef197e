import assert from "node:assert/strict";
import type { Observation, StepOutcome } from "../../common/types.ts";
import { parseTransition } from "../../common/wire/validate.ts";
import { normalSource } from "../../common/policy/testing.ts";
import { ScriptedRobot } from "../testing.ts";
import { ChunkLedger, type PlannedChunk } from "./chunk_ledger.ts";

async function observation(): Promise<Observation> {
  const robot = new ScriptedRobot(() => ({ steps: 1, end: "failure" }));
  await robot.reset(1);
  return await robot.observe();
}

const OBSERVATION = await observation();
const normal = normalSource(1);

function chunk(value: number): PlannedChunk {
  const tokenLogProbs = Float32Array.from({ length: 3 }, () => -Math.abs(normal()));
  return {
    driver: "policy",
    policyVersion: 3,
    observation: OBSERVATION,
    tokens: Int32Array.of(1, 2, 3),
    logProb: tokenLogProbs.reduce((sum, one) => sum + one, 0),
    tokenLogProbs,
    behaviour: { precision: "float32", decoder: "wasm" },
    value,
  };
}

const GOES_ON: StepOutcome = {
  reward: 1,
  isTerminal: false,
  isTruncated: false,
  isSuccess: false,
};

Deno.test("ChunkLedger gives each step to its chunk and completes it at its successor's first step", () => {
  const ledger = new ChunkLedger("e");
  const first = ledger.plan(chunk(0.5));
  for (let step = 0; step < 3; step++) ledger.onStep(first, GOES_ON);
  const second = ledger.plan(chunk(0.7));
  ledger.onStep(first, GOES_ON);
  assert.deepEqual(ledger.takeDone(), []);
  ledger.onStep(second, GOES_ON);
  const [done] = ledger.takeDone();
  assert.deepEqual(
    [done.chunkId, done.chunkIndex, done.reward, done.stepsExecuted, done.finalValue],
    ["e.0", 0, 4, 4, 0],
  );
  assert.equal(done.isTerminal || done.isTruncated, false);
  parseTransition(done);
});

Deno.test("ChunkLedger lets a chunk earn while the arms wait for its successor", () => {
  const ledger = new ChunkLedger("e");
  const first = ledger.plan(chunk(0));
  ledger.onStep(null, GOES_ON);
  ledger.onStep(first, GOES_ON);
  ledger.onStep(null, GOES_ON);
  ledger.onStep(null, { ...GOES_ON, reward: 5 });
  ledger.close(0.25);
  const [done] = ledger.takeDone();
  assert.deepEqual([done.reward, done.stepsExecuted, done.finalValue], [7, 1, 0.25]);
  assert.equal(done.isCutShort, true);
});

Deno.test("ChunkLedger ends a chunk by success while its successor is only planned", () => {
  const ledger = new ChunkLedger("e");
  const first = ledger.plan(chunk(0));
  ledger.onStep(first, GOES_ON);
  ledger.plan(chunk(9));
  ledger.onStep(null, { reward: 2, isTerminal: true, isTruncated: false, isSuccess: true });
  // What happens after the end is nobody's.
  ledger.onStep(first, { ...GOES_ON, reward: 100 });
  ledger.close(4);
  const done = ledger.takeDone();
  assert.equal(done.length, 1);
  assert.deepEqual(
    [done[0].reward, done[0].isTerminal, done[0].isSuccess, done[0].finalValue],
    [3, true, true, 0],
  );
});

Deno.test("ChunkLedger cuts an interrupted episode off, with the newest value that it knows", () => {
  const ledger = new ChunkLedger("e");
  const first = ledger.plan(chunk(0.1));
  ledger.onStep(first, GOES_ON);
  ledger.plan(chunk(0.9));
  ledger.close(undefined);
  const [done] = ledger.takeDone();
  assert.deepEqual([done.isCutShort, done.isTruncated, done.finalValue], [true, false, 0.9]);
});

Deno.test("ChunkLedger leaves no transition of a chunk that never moved anything", () => {
  const ledger = new ChunkLedger("e");
  ledger.plan(chunk(0.1));
  ledger.onStep(null, GOES_ON);
  ledger.close(undefined);
  assert.deepEqual(ledger.takeDone(), []);
});

Deno.test("ChunkLedger numbers transitions without a gap when a chunk in between was never executed", () => {
  const ledger = new ChunkLedger("e");
  const first = ledger.plan(chunk(0));
  ledger.onStep(first, GOES_ON);
  ledger.plan(chunk(0));
  const third = ledger.plan(chunk(0));
  ledger.onStep(third, GOES_ON);
  ledger.close(0);
  assert.deepEqual(ledger.takeDone().map(({ chunkIndex }) => chunkIndex), [0, 1]);
});

Deno.test("ChunkLedger keeps every step's reward, and gives that of holding to the last step", () => {
  const ledger = new ChunkLedger("e");
  const first = ledger.plan(chunk(0));
  ledger.onStep(first, GOES_ON);
  ledger.onStep(first, { ...GOES_ON, reward: 3, humanReward: 2 });
  ledger.onStep(null, { ...GOES_ON, reward: 0.5, humanReward: 0.25 });
  ledger.close(0);
  const [done] = ledger.takeDone();
  assert.deepEqual([...done.stepRewards], [1, 3.5]);
  assert.deepEqual([...done.humanRewards], [0, 2.25]);
  assert.deepEqual([done.reward, done.stepsExecuted], [4.5, 2]);
  parseTransition(done);
});

Deno.test("ChunkLedger writes a person's tokens when it is known how many steps were executed", () => {
  const ledger = new ChunkLedger("e");
  const first = ledger.plan({
    ...chunk(0.5),
    driver: "person",
    logProb: 0,
    tokenLogProbs: new Float32Array(0),
    tokens: (steps) => new Int32Array(steps).fill(7),
  });
  for (let step = 0; step < 2; step++) ledger.onStep(first, GOES_ON);
  const second = ledger.plan(chunk(0));
  ledger.onStep(second, GOES_ON);
  const [done] = ledger.takeDone();
  assert.deepEqual([done.driver, [...done.tokens], done.chunkIndex], ["person", [7, 7], 0]);
  parseTransition(done);
});

Deno.test("ChunkLedger ends an episode once: what is terminal is not cut off as well", () => {
  const ledger = new ChunkLedger("e");
  const first = ledger.plan(chunk(0));
  ledger.onStep(first, { ...GOES_ON, isTerminal: true, isTruncated: true });
  ledger.close(3);
  const [done] = ledger.takeDone();
  assert.deepEqual([done.isTerminal, done.isTruncated, done.isCutShort], [true, false, false]);
  parseTransition(done);
});
