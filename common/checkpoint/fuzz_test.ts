import assert from "node:assert/strict";
import { join } from "node:path";
import { fuzzCheckpoint } from "./fuzz.ts";
import { TempDir } from "./testing.ts";

const FIXTURES = new URL("../../tests/fixtures/checkpoint_formats/", import.meta.url).pathname;

/** scripts/fuzz_checkpoints.ts runs 10,000 of each. */
const MUTATIONS = 400;

/** The values of each are a few kilobytes; the rest is garbage that has not been collected. */
const MAX_MEMORY_GROWTH = 400e6;
const MAX_MS = 1000;

for (
  const name of [
    "tiny_ocdbt",
    "tiny_ocdbt_zstd",
    "tiny_zarr",
    "sharded",
    "stored.npz",
    "deflated.npz",
  ]
) {
  Deno.test(`openTensorSource() answers any mutation of ${name} with values or a CheckpointError`, async () => {
    using dir = new TempDir();
    const report = await fuzzCheckpoint({
      path: join(FIXTURES, name),
      workDir: dir.path,
      count: MUTATIONS,
      seed: 1,
      now: () => performance.now(),
    });
    assert.deepEqual(report.crashes, []);
    assert.ok(report.readable > 0 && report.refused > MUTATIONS / 2, JSON.stringify(report));
    assert.ok(report.slowestMs < MAX_MS, `one took ${report.slowestMs} ms`);
    assert.ok(report.memoryGrowth < MAX_MEMORY_GROWTH, `${report.memoryGrowth} bytes more`);
    assert.ok(report.mostBytes < 1e6, `one became ${report.mostBytes} bytes`);
  });
}
