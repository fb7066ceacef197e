/**
 * Damages small checkpoints of every format many times and reports what the readers make of them.
 *
 * Run: deno run --allow-read --allow-write scripts/fuzz_checkpoints.ts [--count 10000] [--seed 1]
 *
 * @module
 */

import { join } from "node:path";
import { parseArgs } from "node:util";
import { fuzzCheckpoint, type FuzzReport } from "../common/checkpoint/fuzz.ts";
import { textTable } from "./text_table.ts";

const FIXTURES = join(import.meta.dirname ?? ".", "../tests/fixtures/checkpoint_formats");

/** One for each reader, and for each way in which its files may be compressed. */
const CHECKPOINTS = [
  "tiny_ocdbt",
  "tiny_ocdbt_zstd",
  "tiny_zarr",
  "sharded",
  "stored.npz",
  "deflated.npz",
];

const MAX_MS = 1000;

function integer(text: string, flag: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`Cannot use --${flag} ${text}: expected an integer from 0`);
  }
  return value;
}

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
  },
});
const count = integer(values.count, "count");
const seed = integer(values.seed, "seed");

const reports: [string, FuzzReport][] = [];
for (const name of CHECKPOINTS) {
  const workDir = await Deno.makeTempDir({ prefix: "tendon_fuzz_" });
  try {
    const now = () => performance.now();
    reports.push([
      name,
      await fuzzCheckpoint({ path: join(FIXTURES, name), workDir, count, seed, now }),
    ]);
  } finally {
    await Deno.remove(workDir, { recursive: true });
  }
}
for (const [name, { crashes }] of reports) {
  for (const crash of crashes.slice(0, 10)) console.error(`${name}: ${crash}`);
}
const header = ["checkpoint", "mutations", "read", "refused", "crashes", "slowest ms", "memory MB"];
console.log(textTable(
  header,
  reports.map(([name, report]) => [
    name,
    String(count),
    String(report.readable),
    String(report.refused),
    String(report.crashes.length),
    report.slowestMs.toFixed(0),
    (report.memoryGrowth / 1e6).toFixed(0),
  ]),
));
const isClean = reports.every(([, { crashes, slowestMs }]) =>
  crashes.length === 0 && slowestMs < MAX_MS
);
Deno.exit(isClean ? 0 : 1);
