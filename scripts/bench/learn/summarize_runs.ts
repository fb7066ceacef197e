/**
 * What several runs of a variant come to: success at the end, and steps and time on the way there.
 * @module
 */

import { textTable } from "../../../common/cli/text_table.ts";
import { median } from "../../statistics.ts";
import { SUCCESS_LEVELS } from "./experiments.ts";
import type { EvaluationLine, RunResults } from "./result_lines.ts";

/** Mean and spread of a number over runs. */
export interface Spread {
  /** How many runs have the number. */
  readonly count: number;
  /** Mean over those. */
  readonly mean: number;
  /** Standard deviation of a sample; 0 of one run. */
  readonly deviation: number;
  /** Least. */
  readonly min: number;
  /** Greatest. */
  readonly max: number;
}

/** How a variant reached a share of success. */
export interface LevelSummary {
  /** The share, 0–1. */
  readonly level: number;
  /** Runs that reached it. */
  readonly reached: number;
  /** Control steps of the first measurement at or above it; null if no run has one. */
  readonly controlSteps: Spread | null;
  /** Seconds until then, measurements not counted; null if no run has one. */
  readonly wallSeconds: Spread | null;
}

/** What a variant came to. */
export interface VariantSummary {
  /** Name of the variant. */
  readonly variant: string;
  /** Seeds of its finished runs. */
  readonly seeds: readonly number[];
  /** Success at the start, 0–1. */
  readonly startSuccess: Spread;
  /** Success at the end, 0–1. */
  readonly finalSuccess: Spread;
  /** Success at the end of each run, in the order of the seeds. */
  readonly perSeed: readonly number[];
  /** The least success of any run at any time after the first half of its measurements. */
  readonly worstLate: number;
  /** Versions that the weights behind a trained chunk were old, median over updates; null if unknown. */
  readonly weightAge: number | null;
  /** By growing share. */
  readonly levels: readonly LevelSummary[];
}

/**
 * Mean and spread of at least one number.
 * @throws {RangeError} If there is none.
 */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError("Cannot tell a spread: there are no values");
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    count: values.length,
    mean,
    deviation: values.length === 1 ? 0 : Math.sqrt(squares / (values.length - 1)),
    min: Math.min(...values),
    max: Math.max(...values),
  };
}

/**
 * The first measurement at or above a share of success. Nothing is interpolated, so it is late by up
 * to the distance of two measurements.
 */
export function firstReaching(run: RunResults, level: number): EvaluationLine | undefined {
  return run.evaluations.find(({ successRate }) => successRate >= level);
}

/**
 * Summarise the trained and measured runs by variant, in the order in which variants appear.
 * @param runs Runs of one experiment; those without an end or without measurements are left out.
 */
export function summarizeRuns(runs: readonly RunResults[]): VariantSummary[] {
  const finished = runs.filter((run) => run.trained !== undefined && run.evaluations.length > 0);
  const variants = [...new Set(finished.map(({ variant }) => variant))];
  return variants.map((variant) => {
    const own = finished.filter((run) => run.variant === variant)
      .sort((a, b) => a.seed - b.seed);
    const perSeed = own.map(({ evaluations }) => evaluations.at(-1)!.successRate);
    const late = own.flatMap(({ evaluations }) =>
      evaluations.slice(Math.ceil(evaluations.length / 2)).map((line) => line.successRate)
    );
    return {
      variant,
      seeds: own.map(({ seed }) => seed),
      startSuccess: spread(own.map(({ evaluations }) => evaluations[0].successRate)),
      finalSuccess: spread(perSeed),
      perSeed,
      weightAge: weightAge(own),
      worstLate: Math.min(...perSeed, ...late),
      levels: SUCCESS_LEVELS.map((level) => summarizeLevel(own, level)),
    };
  });
}

function summarizeLevel(runs: readonly RunResults[], level: number): LevelSummary {
  const first = runs.flatMap((run) => firstReaching(run, level) ?? []);
  const over = (pick: (line: EvaluationLine) => number) =>
    first.length === 0 ? null : spread(first.map(pick));
  return {
    level,
    reached: first.length,
    controlSteps: over((line) => line.controlSteps),
    wallSeconds: over((line) => line.wallSeconds),
  };
}

/** Summaries as a table for a terminal. */
export function summaryTable(summaries: readonly VariantSummary[]): string {
  const percent = (share: number) => (100 * share).toFixed(1);
  const steps = ({ reached, controlSteps }: LevelSummary, runs: number) =>
    controlSteps === null ? "–" : `${Math.round(controlSteps.mean / 1000)}k` +
      (reached < runs ? ` (${reached}/${runs})` : "");
  return textTable(
    [
      "variant",
      "runs",
      "start %",
      "end %",
      "± sd",
      "least",
      "late least",
      "age",
      ...SUCCESS_LEVELS.map((level) => `steps to ${Math.round(100 * level)} %`),
      `s to ${Math.round(100 * SUCCESS_LEVELS[0])} %`,
      "each seed's end %",
    ],
    summaries.map((s) => [
      s.variant,
      String(s.seeds.length),
      percent(s.startSuccess.mean),
      percent(s.finalSuccess.mean),
      percent(s.finalSuccess.deviation),
      percent(s.finalSuccess.min),
      percent(s.worstLate),
      s.weightAge === null ? "–" : s.weightAge.toFixed(1),
      ...s.levels.map((level) => steps(level, s.seeds.length)),
      s.levels[0].wallSeconds === null ? "–" : s.levels[0].wallSeconds.mean.toFixed(0),
      s.perSeed.map(percent).join(" "),
    ]),
  );
}

/** The median age of trained chunks' weights, in versions; null where no update tells. */
function weightAge(runs: readonly RunResults[]): number | null {
  const ages = runs.flatMap(({ updates }) =>
    updates.flatMap((line) => line.metrics.weightAge ?? [])
  );
  return ages.length === 0 ? null : median(ages);
}
