/**
 * What a soak run found: numbers, the goals that some of them have, and the table of it.
 *
 * @module
 */

import { textTable } from "../../common/cli/text_table.ts";
import type { Goal } from "../bench/measurement.ts";

/** One number. */
export interface Finding {
  /** What it is. */
  readonly name: string;
  /** Its unit; empty for a count. */
  readonly unit: string;
  /** The number; NaN when there was nothing to measure. */
  readonly value: number;
  /** What it must reach. */
  readonly goal?: Goal;
}

/** What one run found. */
export interface SoakReport {
  /** What was run, such as "steady at 50 Hz". */
  readonly title: string;
  /** The numbers. */
  readonly findings: readonly Finding[];
  /** Lines below the table: what the numbers do not say. */
  readonly notes: readonly string[];
}

/**
 * Whether a number reaches its goal.
 *
 * @param finding The number.
 * @returns Undefined without a goal; false for NaN, which reaches none.
 */
export function isReached({ value, goal }: Finding): boolean | undefined {
  if (goal === undefined) return undefined;
  return goal.kind === "at most" ? value <= goal.value : value >= goal.value;
}

/**
 * Goals that were missed.
 *
 * @param report What was found.
 * @returns One clause each, such as "missed deadlines is 3, at most 0 is wanted".
 */
export function missedGoals({ findings }: SoakReport): string[] {
  return findings.flatMap((finding) =>
    isReached(finding) === false
      ? [
        `${finding.name} is ${shown(finding.value)}${unitOf(finding)}, ` +
        `${finding.goal!.kind} ${shown(finding.goal!.value)} is wanted`,
      ]
      : []
  );
}

/**
 * A report for people.
 *
 * @param report What was found.
 * @returns Lines.
 */
export function reportText(report: SoakReport): string {
  const table = textTable(
    [report.title, "value", "unit", "goal", "reached"],
    report.findings.map((finding) => {
      const { name, unit, value, goal } = finding;
      const reached = isReached(finding);
      return [
        name,
        shown(value),
        unit,
        goal === undefined ? "" : `${goal.kind === "at most" ? "≤" : "≥"} ${shown(goal.value)}`,
        reached === undefined ? "" : reached ? "yes" : "NO",
      ];
    }),
  );
  return [table, ...report.notes].join("\n");
}

/**
 * The load of this machine, which every number of a soak run depends on.
 *
 * @returns A line such as "load average 1.20 1.31 1.11 on 2 cores".
 */
export function loadNote(): string {
  const load = Deno.loadavg().map((value) => value.toFixed(2)).join(" ");
  return `load average ${load} on ${navigator.hardwareConcurrency} cores`;
}

function unitOf({ unit }: Finding): string {
  return unit === "" ? "" : ` ${unit}`;
}

/** Whole numbers as they are, others with up to three decimals. */
function shown(value: number): string {
  if (Number.isNaN(value)) return "none";
  return value.toLocaleString("en", { maximumFractionDigits: 3 });
}
