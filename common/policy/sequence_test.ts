import assert from "node:assert/strict";
import { decodeMask, layOut, positionIds, prefixLmMask, textIds } from "./sequence.ts";
import { MASKED_LOGIT } from "./variants.ts";

const ids = {
  prompts: [Int32Array.of(2, 11, 12), Int32Array.of(2)],
  forced: Int32Array.of(20, 21),
};
const layout = layOut(4, ids, 2);

Deno.test("layOut() counts image, prompt, forced and fed tokens", () => {
  assert.deepEqual(layout, {
    batch: 2,
    imageTokens: 4,
    promptTokens: 3,
    forcedTokens: 2,
    fedTokens: 2,
    length: 11,
    prefixLengths: Int32Array.of(7, 5),
  });
});

Deno.test("textIds() pads prompts on the left and chunks on the right", () => {
  assert.deepEqual(
    [...textIds(layout, ids, [[31, 32], [33]])],
    [2, 11, 12, 20, 21, 31, 32, 0, 0, 2, 20, 21, 33, 0],
  );
});

Deno.test("positionIds() counts valid tokens from 0", () => {
  const found = positionIds(layout, "natural");
  assert.deepEqual([...found.slice(0, 11)], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  const valid = [0, 1, 2, 3, 6, 7, 8, 9, 10]; // without the second row's padding
  assert.deepEqual(valid.map((i) => found[11 + i]), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

Deno.test("positionIds() puts decoded tokens one further in openpi's convention", () => {
  const natural = positionIds(layout, "natural");
  const openpi = positionIds(layout, "openpi");
  openpi.forEach((position, i) => {
    assert.equal(position, natural[i] + (i % 11 >= 7 ? 1 : 0));
  });
});

Deno.test("prefixLmMask() follows openpi's rule: cumulative ar_mask of the key at most the query's", () => {
  const { data, rows } = prefixLmMask(layout);
  assert.equal(rows, 2);
  for (let row = 0; row < 2; row++) {
    const isValid = (i: number) => i < 4 || i >= 7 - (layout.prefixLengths[row] - 4);
    const order = (i: number) => Math.max(0, i - 6); // 0 in the prefix, then 1, 2, …
    for (let query = 0; query < 11; query++) {
      for (let key = 0; key < 11; key++) {
        const isSeen = isValid(key) && order(key) <= order(query);
        const found = data[(row * 11 + query) * 11 + key];
        assert.equal(found, isSeen ? 0 : Math.fround(MASKED_LOGIT), `${row}: ${query} → ${key}`);
      }
    }
  }
});

Deno.test("prefixLmMask() makes one row do for all when no prompt is padded", () => {
  const even = layOut(4, { ...ids, prompts: [ids.prompts[0], ids.prompts[0]] }, 2);
  const { data, rows } = prefixLmMask(even);
  assert.equal(rows, 1);
  assert.deepEqual(data, prefixLmMask(layout).data.slice(0, 121));
});

Deno.test("decodeMask() shows a token what the whole mask shows it", () => {
  const whole = prefixLmMask(layout).data;
  const capacity = 13;
  for (const query of [9, 10]) {
    const data = decodeMask(layout, query + 1, capacity);
    for (let row = 0; row < 2; row++) {
      for (let key = 0; key < capacity; key++) {
        const expected = key < 11
          ? whole[(row * 11 + query) * 11 + key]
          : Math.fround(MASKED_LOGIT);
        assert.equal(data[row * capacity + key], expected);
      }
    }
  }
});

Deno.test("a hidden camera is seen by nobody, and takes up positions in training alone", () => {
  const cameraMasks = [[true, true], [true, false]]; // two cameras of two tokens each
  const hidden = layOut(4, { ...ids, cameraMasks }, 2);
  const { data, rows } = prefixLmMask(hidden);
  assert.equal(rows, 2);
  for (let row = 0; row < 2; row++) {
    for (let key = 0; key < 4; key++) {
      const expected = cameraMasks[row][key >> 1] ? 0 : Math.fround(MASKED_LOGIT);
      for (let query = 0; query < 11; query++) {
        assert.equal(data[(row * 11 + query) * 11 + key], expected, `${row}: ${query} → ${key}`);
      }
      assert.equal(decodeMask(hidden, 9, 12)[row * 12 + key], expected);
    }
  }
  const last = (convention: Parameters<typeof positionIds>[1], row: number) =>
    positionIds(hidden, convention)[row * 11 + 10];
  assert.deepEqual([last("natural", 0), last("natural", 1)], [10, 6]);
  assert.deepEqual([last("openpi", 0), last("openpi", 1)], [11, 7]);
  assert.deepEqual([last("training", 0), last("training", 1)], [10, 8]);
});

Deno.test("layOut() refuses camera masks of another number of rows", () => {
  assert.throws(() => layOut(4, { ...ids, cameraMasks: [[true, true]] }, 0), {
    name: "RangeError",
    message:
      "Cannot lay out the batch: it has 2 prompts and 1 rows of camera masks; give one row " +
      "a prompt",
  });
});
