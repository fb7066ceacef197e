import assert from "node:assert/strict";
import fc from "fast-check";
import {
  computeFieldStats,
  DEFAULT_MIN_RANGE,
  loadNormStats,
  normalize,
  normStatsFingerprint,
  saveNormStats,
  unnormalize,
  withMode,
} from "./normalization.ts";
import { readFixture } from "./testing.ts";

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  actual.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-12));
}

async function withFile(use: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "normalization_test_" });
  try {
    await use(`${dir}/norm_stats.json`);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("computeFieldStats() equals numpy's mean, std and quantile", () => {
  const golden = readFixture<Record<string, number[]>>("numbers.json");
  const stats = computeFieldStats(golden.samples, 3);
  assertClose(stats.mean, golden.mean);
  assertClose(stats.std, golden.std);
  assertClose(stats.q01, golden.q01);
  assertClose(stats.q99, golden.q99);
});

Deno.test("computeFieldStats() maps a joint that never moved to 0", () => {
  const stats = computeFieldStats([0.7, 1, 0.7, 2, 0.7, 3], 2);
  assertClose([stats.q99[0] - stats.q01[0]], [DEFAULT_MIN_RANGE]);
  assertClose([(stats.q99[0] + stats.q01[0]) / 2], [0.7]);
  const [still, , nudged] = normalize([0.7, 1, 0.705, 1], stats);
  assert.ok(Math.abs(still) < 1e-4);
  assert.ok(Math.abs(nudged - 0.5) < 1e-4); // 5 mrad of ±10 mrad
  const wider = computeFieldStats([0.7, 1, 0.7, 2], 2, [0.5, 0.1]);
  assertClose([wider.q01[0], wider.q99[0]], [0.45, 0.95]);
});

Deno.test("normalize() maps q01 to −1 and q99 to +1 as openpi does", () => {
  const stats = { mean: [0], std: [1], q01: [-2], q99: [6] };
  const [low, middle, high] = normalize([-2, 2, 6], stats);
  assert.equal(low, -1);
  assert.ok(Math.abs(middle) < 1e-6 && Math.abs(high - 1) < 1e-6);
  assert.equal(normalize([6], stats)[0], Math.fround((8 / (8 + 1e-6)) * 2 - 1));
});

Deno.test("unnormalize() undoes normalize()", () => {
  const stats = computeFieldStats([0, -3, 1, 5, 2, 9], 2);
  const value = fc.float({ min: -10, max: 10, noNaN: true });
  fc.assert(
    fc.property(fc.array(value, { minLength: 6, maxLength: 6 }), (values) => {
      const back = unnormalize(normalize(values, stats), stats);
      values.forEach((x, i) => assert.ok(Math.abs(back[i] - x) < 1e-4));
    }),
    { numRuns: 200, seed: 1 },
  );
});

Deno.test("loadNormStats() gives back what saveNormStats() wrote, in openpi's layout", () =>
  withFile(async (path) => {
    const stats = {
      state: computeFieldStats([0.1, 2, 3, 4], 2),
      actions: computeFieldStats([1, 2, 3], 1),
    };
    await saveNormStats(path, stats);
    const loaded = await loadNormStats(path);
    assert.deepEqual(loaded, stats);
    assert.equal(normStatsFingerprint(loaded), normStatsFingerprint(stats));
    const json = JSON.parse(await Deno.readTextFile(path));
    assert.deepEqual(Object.keys(json.norm_stats.actions), ["mean", "std", "q01", "q99"]);
    const other = { ...stats, actions: stats.state };
    assert.notEqual(normStatsFingerprint(other), normStatsFingerprint(stats));
  }));

Deno.test("loadNormStats() says what is wrong with the file", () =>
  withFile(async (path) => {
    await assert.rejects(loadNormStats(path), /norm_stats\.json does not exist/);
    const good = { mean: [0], std: [1], q01: [-1], q99: [1] };
    const bad: [string, RegExp][] = [
      ["{", /is not JSON/],
      ["{}", /norm_stats of .* is wrong/],
      [JSON.stringify({ norm_stats: { state: good } }), /norm_stats\.actions/],
      [
        JSON.stringify({ norm_stats: { state: { ...good, q99: [1, 2] }, actions: good } }),
        /norm_stats\.state .*differ in length/,
      ],
      [
        JSON.stringify({ norm_stats: { state: good, actions: { ...good, q01: [2] } } }),
        /a q01 lies above its q99/,
      ],
      [
        JSON.stringify({ norm_stats: { state: good, actions: { ...good, q01: null } } }),
        /norm_stats\.actions\.q01/,
      ],
    ];
    for (const [text, message] of bad) {
      await Deno.writeTextFile(path, text);
      await assert.rejects(loadNormStats(path), { name: "SyntaxError", message });
    }
  }));

Deno.test("normalisation refuses what is not whole samples", () => {
  const stats = computeFieldStats([1, 2, 3, 4], 2);
  assert.throws(() => normalize([1, 2, 3], stats), /3 values are not samples of 2 numbers/);
  assert.throws(() => unnormalize([1], stats), RangeError);
  assert.throws(() => computeFieldStats([], 2), /0 values are not samples of 2/);
  assert.throws(() => computeFieldStats([1, 2, 3], 2), RangeError);
  assert.throws(() => computeFieldStats([1, NaN], 2), /dimension 1 has a value not finite/);
  assert.throws(() => computeFieldStats([1, 2], 2, 0), /minRange of dimension 0 is 0/);
});

Deno.test("LeRobot's quantiles add nothing to a range, and 1e-8 where there is none", () => {
  const field = { mean: [0, 0], std: [1, 1], q01: [-2, 5], q99: [6, 5] };
  const { state } = withMode({ state: field, actions: field }, "lerobot_quantile");
  assert.deepEqual([...normalize([-2, 5, 6, 5, 2, 5 + 1e-8], state)], [-1, -1, 1, -1, 0, 1]);
  assert.deepEqual([...unnormalize([-1, -1, 1, 1], state)], [-2, 5, 6, 5]);
});

Deno.test("statistics without percentiles serve mean and deviation, and nothing else", async () => {
  const field = { mean: [1], std: [2] };
  const stats = { state: field, actions: field };
  const { state } = withMode(stats, "mean_std");
  assert.deepEqual([...normalize([5], state)], [2]);
  assert.deepEqual([...unnormalize([2], state)], [5]);
  for (const mode of ["quantile", "lerobot_quantile"] as const) {
    assert.throws(() => withMode(stats, mode), {
      name: "RangeError",
      message: /^Cannot normalise by quantiles: the statistics of state have no q01 and q99; comp/,
    });
  }
  assert.throws(() => normalize([1], field), /have no q01 and q99/);
  await withFile(async (path) => {
    await saveNormStats(path, stats);
    assert.deepEqual(await loadNormStats(path), stats);
    const odd = { norm_stats: { state: { ...field, q01: [0] }, actions: field } };
    await Deno.writeTextFile(path, JSON.stringify(odd));
    await assert.rejects(
      loadNormStats(path),
      /q01 and q99 belong together, one of them is missing/,
    );
  });
});
