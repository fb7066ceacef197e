/**
 * What a benchmark measures, how it is timed and how it is shown.
 * @module
 */

import { median, percentile } from "../statistics.ts";
import { textTable } from "../../common/cli/text_table.ts";

/** What a measurement should reach. */
export interface Goal {
  /** Which side of the value is good. */
  readonly kind: "at most" | "at least";
  /** The bound, in the measurement's unit. */
  readonly value: number;
}

/** One measured number. */
export interface Measurement {
  /** What was measured, for people and as a key. */
  readonly name: string;
  /** Unit of the numbers. */
  readonly unit: string;
  /** Median of the repeats, or the only value. */
  readonly p50: number;
  /** 90th percentile of the repeats; absent when there is one value. */
  readonly p90?: number;
  /** What the median should reach. */
  readonly goal?: Goal;
}

/** A measurement from repeated values. */
export function summarize(
  name: string,
  unit: string,
  values: readonly number[],
  goal?: Goal,
): Measurement {
  return { name, unit, p50: median(values), p90: percentile(values, 0.9), goal };
}

/** Whether a measurement reaches its goal; undefined without one. */
export function isGoalMet({ p50, goal }: Measurement): boolean | undefined {
  if (!goal) return undefined;
  return goal.kind === "at most" ? p50 <= goal.value : p50 >= goal.value;
}

/**
 * Time repeated work, after one round to warm up.
 *
 * @param repeats Timings, at least 1.
 * @param signal Ends the work by throwing its reason.
 * @param work Called with the number of the round.
 * @returns Milliseconds of each round.
 */
export async function timeRounds(
  repeats: number,
  signal: AbortSignal,
  work: (round: number) => unknown,
): Promise<number[]> {
  await work(0);
  const times: number[] = [];
  for (let round = 0; round < repeats; round++) {
    signal.throwIfAborted();
    const start = performance.now();
    await work(round);
    times.push(performance.now() - start);
  }
  return times;
}

/** Whole numbers as they are, others with four significant digits; grouped in thousands. */
function formatNumber(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const digits = Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en", {
    minimumFractionDigits: Math.min(digits, 4),
    maximumFractionDigits: Math.min(digits, 4),
  });
}

/** The table of one part of the benchmark. */
export function measurementTable(title: string, measurements: readonly Measurement[]): string {
  return textTable(
    [title, "p50", "p90", "unit", "goal", ""],
    measurements.map((m) => {
      const isMet = isGoalMet(m);
      return [
        m.name,
        formatNumber(m.p50),
        m.p90 === undefined ? "" : formatNumber(m.p90),
        m.unit,
        m.goal ? `${m.goal.kind === "at most" ? "≤" : "≥"} ${formatNumber(m.goal.value)}` : "",
        isMet === undefined ? "" : isMet ? "pass" : "MISS",
      ];
    }),
  );
}
