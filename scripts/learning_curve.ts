/**
 * `deno task learning-curve`: draws success rate and reward of one or more runs over their updates.
 * @module
 */

import { dirname } from "node:path";
import { parseCommand, UsageError } from "../common/cli/flags.ts";
import { runMain } from "../common/cli/main.ts";
import { curveSvg } from "./curve/curve_svg.ts";
import { parseMetrics, type RunCurve } from "./curve/read_metrics.ts";

const COMMAND = {
  name: "deno task learning-curve",
  summary: "Draw success rate and reward of one or more runs, and their mean, as an SVG picture.",
  preset: "demo",
  fields: [],
  flags: {
    runs: {
      kind: "string",
      default: "",
      unit: "files",
      description:
        "The runs' metrics.jsonl files, separated by commas; one line is drawn for each.",
    },
    out: {
      kind: "string",
      default: "learning_curve.svg",
      unit: "file",
      description: "Where to write the picture; the name ends in .svg.",
    },
    title: { kind: "string", default: "Learning curve", description: "Heading of the picture." },
  },
} as const satisfies Parameters<typeof parseCommand>[0];

async function readRun(path: string): Promise<RunCurve> {
  return parseMetrics(await Deno.readTextFile(path), path);
}

async function main(): Promise<void> {
  const parsed = parseCommand(COMMAND, Deno.args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const { out, title } = parsed.flags;
  const paths = parsed.flags.runs.split(",").map((path) => path.trim()).filter((path) => path);
  if (paths.length === 0) {
    throw new UsageError("--runs is empty: give at least one metrics.jsonl of a learner.");
  }
  if (!out.toLowerCase().endsWith(".svg")) {
    throw new UsageError(`Invalid --out: it is ${JSON.stringify(out)}, but it must end in .svg.`);
  }
  const runs = await Promise.all(paths.map(readRun));
  await Deno.mkdir(dirname(out), { recursive: true });
  await Deno.writeTextFile(out, curveSvg(runs, title));
  for (const { name, points } of runs) {
    const last = points.findLast((point) => point.successRate !== null)?.successRate;
    const success = last === undefined || last === null ? "–" : `${(100 * last).toFixed(0)} %`;
    console.log(`${name}: ${points.length} updates, success at the end ${success}`);
  }
  console.log(`Wrote ${out}`);
}

if (import.meta.main) await runMain(main);
