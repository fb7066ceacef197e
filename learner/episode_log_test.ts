import assert from "node:assert/strict";
import { EpisodeLog } from "./episode_log.ts";
import { makeTransition } from "./testing.ts";

Deno.test("EpisodeLog adds up interleaved episodes and tells each once", () => {
  const log = new EpisodeLog(7);
  const add = (episodeId: string, chunkIndex: number, changes = {}) =>
    log.add(makeTransition({ episodeId, chunkIndex, reward: 1.5, stepsExecuted: 10, ...changes }));
  assert.equal(add("a", 0), undefined);
  assert.equal(add("b", 0, { reward: -1 }), undefined);
  const ended = { isTerminal: true, isSuccess: true, policyVersion: 3, stepsExecuted: 4 };
  const nobody = { humanReward: 0, humanSteps: 0 };
  const a = {
    episodeId: "a",
    reward: 3,
    ...nobody,
    steps: 14,
    end: "success",
    isSuccess: true,
    policyVersion: 3,
  };
  assert.deepEqual(add("a", 1, ended), a);
  const b = {
    episodeId: "b",
    reward: 0.5,
    ...nobody,
    steps: 20,
    end: "time_limit",
    isSuccess: false,
    policyVersion: 0,
  };
  assert.deepEqual(add("b", 1, { isTruncated: true }), b);
  assert.equal(log.total, 9);
  assert.deepEqual(log.takeFinished(), [a, b]);
  assert.deepEqual(log.takeFinished(), []);
  assert.equal(log.total, 9);
});

Deno.test("EpisodeLog forgets episodes that nobody ends", () => {
  const log = new EpisodeLog();
  const id = (i: number) => `abandoned-${i}`;
  for (let i = 0; i <= 10_000; i++) log.add(makeTransition({ episodeId: id(i), reward: 1 }));
  const end = { chunkIndex: 1, reward: 1, isTerminal: true };
  assert.equal(log.add(makeTransition({ episodeId: id(0), ...end }))?.reward, 1);
  assert.equal(log.add(makeTransition({ episodeId: id(9), ...end }))?.reward, 2);
});

Deno.test("EpisodeLog keeps apart what people gave and drove, and says how an episode ended", () => {
  const log = new EpisodeLog();
  const human = { reward: 3, stepsExecuted: 2, humanRewards: Float32Array.of(0.5, 1.5) };
  log.add(makeTransition({ chunkIndex: 0, reward: 1 }));
  log.add(makeTransition({ chunkIndex: 1, driver: "person", ...human }));
  const episode = log.add(makeTransition({ chunkIndex: 2, isCutShort: true, policyVersion: 4 }));
  assert.deepEqual(episode, {
    episodeId: "episode",
    reward: 4,
    humanReward: 2,
    steps: 10,
    humanSteps: 2,
    end: "stopped",
    isSuccess: false,
    policyVersion: 4,
  });
});

Deno.test("EpisodeLog goes on where another one stopped", () => {
  const first = new EpisodeLog();
  first.add(makeTransition({ episodeId: "a", reward: 1, isTerminal: true }));
  first.add(makeTransition({ episodeId: "b", reward: 2 }));
  const second = new EpisodeLog(first.total, first.open, first.finished);
  second.add(makeTransition({ episodeId: "b", chunkIndex: 1, reward: 3, isTerminal: true }));
  const taken = second.takeFinished().map(({ episodeId, reward }) => [episodeId, reward]);
  assert.deepEqual(taken, [["a", 1], ["b", 5]]);
  assert.deepEqual([second.total, second.finished], [2, []]);
});
