import assert from "node:assert/strict";
import { EpisodeLabels } from "./episode_labels.ts";

const STEP = { reward: 0.5, isTerminal: false, isTruncated: false, isSuccess: false };

function running(...ids: string[]): EpisodeLabels {
  const labels = new EpisodeLabels();
  for (const id of ids) labels.begin(id);
  return labels;
}

Deno.test("EpisodeLabels adds a score to the next step, once", () => {
  const labels = running("e");
  assert.equal(labels.judge("e", STEP), STEP);
  assert.equal(labels.add({ episode: "current", kind: "score", value: 2 }), null);
  assert.equal(labels.add({ episode: "e", kind: "score", value: -0.5 }), null);
  assert.deepEqual(labels.judge("e", STEP), { ...STEP, reward: 2, humanReward: 1.5 });
  assert.equal(labels.judge("e", STEP), STEP);
});

Deno.test("EpisodeLabels keeps a score for the end of its episode, however that comes", () => {
  for (const end of [{ isTerminal: true }, { isTruncated: true }]) {
    const labels = running("e");
    labels.add({ episode: "e", kind: "score", value: 3, at: "end" });
    assert.equal(labels.judge("e", STEP), STEP);
    const last = labels.judge("e", { ...STEP, ...end });
    assert.deepEqual(last, { ...STEP, ...end, reward: 3.5, humanReward: 3 });
  }
  const labels = running("e");
  labels.add({ episode: "e", kind: "score", value: 3, at: "end" });
  labels.add({ episode: "e", kind: "failure", value: -1 });
  assert.deepEqual(labels.judge("e", STEP), {
    ...STEP,
    reward: 2.5,
    humanReward: 2,
    isTerminal: true,
  });
});

Deno.test("EpisodeLabels ends an episode by a verdict, which is the last word", () => {
  const labels = running("a", "b");
  assert.equal(labels.add({ episode: "a", kind: "failure" }), null);
  assert.equal(labels.add({ episode: "a", kind: "success" }), null);
  const ended = { isTerminal: true, isTruncated: false };
  assert.deepEqual(labels.judge("a", { ...STEP, isTruncated: true }), {
    ...ended,
    reward: 1.5,
    humanReward: 1,
    isSuccess: true,
  });
  labels.add({ episode: "b", kind: "failure" });
  assert.deepEqual(labels.judge("b", { ...STEP, isTerminal: true, isSuccess: true }), {
    ...ended,
    reward: 0.5,
    humanReward: 0,
    isSuccess: false,
  });
});

Deno.test("EpisodeLabels says in one sentence why it cannot take a label", () => {
  const labels = running();
  const score = { episode: "current", kind: "score", value: 1 } as const;
  assert.match(labels.add(score)!, /current episode: none is running/);
  labels.begin("a");
  labels.begin("b");
  assert.match(labels.add(score)!, /2 are running; name one/);
  assert.match(labels.add({ ...score, value: undefined, episode: "a" })!, /without a value/);
  for (const value of [101, -101, NaN, Infinity]) {
    assert.match(labels.add({ ...score, episode: "a", value })!, /from -100 to 100/);
  }
  assert.match(labels.add({ episode: "a", kind: "success", at: "end" })!, /leave out "at"/);
  labels.end("a");
  assert.match(labels.add({ ...score, episode: "a" })!, /"a": it is not running, its last chunk/);
  assert.match(labels.add({ ...score, episode: "__proto__" })!, /not running/);
  assert.deepEqual(labels.running, ["b"]);
  assert.equal(labels.judge("b", STEP), STEP, "nothing of it counts");
});
