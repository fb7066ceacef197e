/**
 * `deno task fuzz-checkpoints`: damages small checkpoints of every format many times and reports what
 * the readers make of them.
 *
 * @module
 */

import { join } from "node:path";
import { fuzzCheckpoint, type FuzzReport } from "../common/checkpoint/fuzz.ts";
import { parseCommand } from "../common/cli/flags.ts";
import { runMain } from "../common/cli/main.ts";
import { textTable } from "../common/cli/text_table.ts";

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

/** No reader may take longer over a damaged file of a few kilobytes. */
const MAX_MS = 1000;
const SHOWN_CRASHES = 10;

const COMMAND = {
  name: "deno task fuzz-checkpoints",
  summary: "Damage small checkpoints of every format many times, read them, and report what the " +
    "readers made of them.",
  preset: "demo",
  fields: ["seed"],
  flags: {
    count: {
      kind: "integer",
      default: 10_000,
      minimum: 1,
      unit: "mutations",
      description: "Damaged copies of each checkpoint.",
    },
  },
} as const satisfies Parameters<typeof parseCommand>[0];

async function fuzz(name: string, count: number, seed: number): Promise<FuzzReport> {
  const workDir = await Deno.makeTempDir({ prefix: "tendon_fuzz_" });
  try {
    const now = () => performance.now();
    return await fuzzCheckpoint({ path: join(FIXTURES, name), workDir, count, seed, now });
  } finally {
    await Deno.remove(workDir, { recursive: true });
  }
}

async function main(signal: AbortSignal): Promise<void> {
  const parsed = parseCommand(COMMAND, Deno.args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const { flags: { count }, config: { seed } } = parsed;
  const reports: [string, FuzzReport][] = [];
  for (const name of CHECKPOINTS) {
    signal.throwIfAborted();
    reports.push([name, await fuzz(name, count, seed)]);
  }
  const header = [
    "checkpoint",
    "mutations",
    "read",
    "refused",
    "crashes",
    "slowest ms",
    "memory MB",
  ];
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
  for (const [name, { crashes }] of reports) {
    for (const crash of crashes.slice(0, SHOWN_CRASHES)) console.error(`${name}: ${crash}`);
  }
  const bad = reports.filter(([, { crashes, slowestMs }]) =>
    crashes.length > 0 || slowestMs >= MAX_MS
  );
  if (bad.length > 0) {
    throw new Error(
      `Readers of ${bad.map(([name]) => name).join(", ")} crashed, or took ${MAX_MS} ms or more`,
    );
  }
}

if (import.meta.main) await runMain(main);
