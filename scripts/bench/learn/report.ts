/**
 * Tells what experiments came to: tables, a picture, one line of JSON.
 * @module
 */

import { cpus } from "node:os";
import { dirname } from "node:path";
import { TENDON_VERSION } from "../../../common/config/version.ts";
import { measurementTable } from "../measurement.ts";
import type { Experiment } from "./experiments.ts";
import { learningSvg } from "./learning_svg.ts";
import type { RunResults } from "./result_lines.ts";
import { summarizeRuns, summaryTable } from "./summarize_runs.ts";
import { measureThroughput, throughputMeasurements } from "./throughput.ts";

/** How to report. */
export interface ReportOptions {
  /** The command line, for the record. */
  readonly command: string;
  /** SVG file for the curves; empty for none. */
  readonly picture: string;
  /** Whether all numbers are printed as one JSON object, the last line. */
  readonly json: boolean;
}

/**
 * Print what the runs came to, and draw it.
 *
 * @param experiment The question.
 * @param runs Ours.
 * @param peers Those of other programs, for table and picture.
 */
export async function report(
  experiment: Experiment,
  runs: readonly RunResults[],
  peers: readonly RunResults[],
  { command, picture, json }: ReportOptions,
): Promise<void> {
  const cores = cpus();
  const machine = {
    cpu: cores[0]?.model.trim() ?? "unknown",
    cores: cores.length,
    deno: Deno.version.deno,
    tendon: TENDON_VERSION,
  };
  console.log(`cpu         ${machine.cpu}, ${machine.cores} cores`);
  console.log(`deno        ${machine.deno}`);
  console.log(`experiment  ${experiment.name}: ${experiment.summary}\n`);
  const summaries = summarizeRuns([...runs, ...peers]);
  if (summaries.length > 0) console.log(summaryTable(summaries));
  const throughput = experiment.isEvaluated ? [] : runs.map((run) => ({
    variant: run.variant,
    seed: run.seed,
    ...measureThroughput(run),
  }));
  for (const one of throughput) {
    const title = `${one.variant}, seed ${one.seed}`;
    console.log(measurementTable(title, throughputMeasurements(one)) + "\n");
  }
  if (picture !== "" && summaries.length > 0) {
    await Deno.mkdir(dirname(picture), { recursive: true });
    await Deno.writeTextFile(
      picture,
      learningSvg([...runs, ...peers], `${experiment.name}: success on held-out episodes`),
    );
    console.log(`\nWrote ${picture}`);
  }
  if (!json) return;
  console.log(JSON.stringify({
    command,
    ...machine,
    experiment: experiment.name,
    variants: summaries,
    ...(throughput.length > 0 ? { throughput } : {}),
  }));
}
