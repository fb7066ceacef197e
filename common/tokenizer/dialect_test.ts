import assert from "node:assert/strict";
import { closingTokens, DIALECT_NAMES, DIALECTS } from "./dialect.ts";
import { createLanguageTokenizer } from "./language.ts";
import { type FieldStats, normalize, unnormalize, withMode } from "./normalization.ts";
import { buildPrefix, prefixText } from "./prompt.ts";
import { buildWordLevelTokenizer } from "./word_level.ts";

const { openpi, lerobot } = DIALECTS;
const language = createLanguageTokenizer(
  buildWordLevelTokenizer(["reach", "the", "Reach", "The"]),
  "tiny",
);
const options = { language, prompt: "Reach The", state: [0], maxTokenLen: 20 };

Deno.test("DIALECTS has every dialect under its name", () => {
  assert.deepEqual(DIALECT_NAMES.map((name) => DIALECTS[name].name), [...DIALECT_NAMES]);
});

Deno.test("openpi lowers the task's case, LeRobot keeps it and joins its lines", () => {
  const task = " \tPut the RED_cube\ninto Bin_2\x1c\n";
  assert.equal(prefixText(task, [0], openpi), "Task: put the red cube\ninto bin 2, State: 128;\n");
  assert.equal(prefixText(task, [0], lerobot), "Task: Put the RED cube into Bin 2, State: 128;\n");
  assert.equal(prefixText(task, [0]), prefixText(task, [0], openpi), "openpi's is the default");
});

Deno.test("LeRobot puts BOS again at the end of the prefix, openpi only at its start", () => {
  const [ours, theirs] = [openpi, lerobot].map((dialect) => buildPrefix({ ...options, dialect }));
  const { bosId } = language;
  assert.deepEqual([...ours], [bosId, ...language.encode("Task: reach the, State: 128;\n")]);
  assert.deepEqual(
    [...theirs],
    [bosId, ...language.encode("Task: Reach The, State: 128;\n"), bosId],
  );
});

Deno.test("LeRobot's second BOS counts against max_token_len", () => {
  const { length } = buildPrefix({ ...options, dialect: openpi });
  assert.doesNotThrow(() => buildPrefix({ ...options, maxTokenLen: length, dialect: openpi }));
  assert.throws(
    () => buildPrefix({ ...options, maxTokenLen: length, dialect: lerobot }),
    new RegExp(`takes ${length + 1} tokens, max_token_len is ${length}`),
  );
});

Deno.test("openpi normalises by quantiles, LeRobot by mean and deviation; neither clips", () => {
  const field: FieldStats = { mean: [1, 5], std: [2, 0], q01: [-1, 5], q99: [3, 5] };
  const stats = { state: field, actions: field };
  const quantile = withMode(stats, openpi.normalization).actions;
  const meanStd = withMode(stats, lerobot.normalization).actions;
  const close = (found: Float32Array, expected: number[]) =>
    expected.forEach((x, i) => assert.ok(Math.abs(found[i] - x) <= 1e-6 * Math.abs(x), `${found}`));
  const values = [9, 5, -3, 5];
  close(normalize(values, quantile), [4 - 2.5e-6, -1, -2 + 1e-6, -1]);
  close(unnormalize([4, -1, -2, -1], quantile), [9 + 2.5e-6, 5, -3, 5]);
  // LeRobot divides by std + 1e-8, and multiplies by std alone.
  close(normalize(values, meanStd), [4, 0, -2, 0]);
  close(normalize([1, 5 + 2 ** -20], meanStd), [0, 2 ** -20 * 1e8]);
  close(unnormalize([4, 7, -2, -7], meanStd), values);
});

Deno.test("openpi's sampler stops at EOS behind the bar, LeRobot's at the bar", () => {
  assert.equal(closingTokens(openpi), 2);
  assert.equal(closingTokens(lerobot), 1);
});

Deno.test("LeRobot decodes at natural positions, openpi where its variant says", () => {
  assert.equal(lerobot.decodePositions, "natural");
  assert.equal(openpi.decodePositions, null);
});
