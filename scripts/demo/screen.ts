/**
 * What the demo shows in the terminal.
 * @module
 */

import type { EvaluationResult } from "../../controller/evaluation.ts";
import type { ChildEvent } from "./child.ts";

const COLUMNS = [
  ["update", 9],
  ["time s", 7],
  ["success", 8],
  ["", 21],
  ["reward", 7],
  ["policy", 8],
  ["value", 7],
  ["entropy", 8],
  ["KL", 7],
  ["chunks/s", 9],
  ["version", 8],
] as const;

const BAR_WIDTH = 20;

function row(cells: readonly string[]): string {
  return cells.map((cell, i) => cell.padStart(COLUMNS[i][1])).join(" ");
}

/** Names of the columns of {@link progressRow}. */
export function progressHeader(): string {
  return row(COLUMNS.map(([name]) => name));
}

/**
 * One update as a line: success and reward are those of the training episodes finished since the
 * last update, losses those of the update.
 * @param event The learner's `update` event.
 * @param updates Updates of the whole run.
 * @param seconds Seconds since the demo began.
 */
export function progressRow(event: ChildEvent, updates: number, seconds: number): string {
  const number = (field: string, digits: number) => {
    const value = event[field];
    return typeof value === "number" ? value.toFixed(digits) : "–";
  };
  const success = typeof event.successRate === "number" ? event.successRate : 0;
  return row([
    `${event.update}/${updates}`,
    seconds.toFixed(0),
    typeof event.successRate === "number" ? `${(100 * success).toFixed(0)} %` : "–",
    "█".repeat(Math.round(success * BAR_WIDTH)).padEnd(BAR_WIDTH, "·"),
    number("episodeReward", 2),
    number("policyLoss", 4),
    number("valueLoss", 4),
    number("entropy", 3),
    number("approxKl", 4),
    number("chunksPerSecond", 1),
    String(event.policyVersion),
  ]);
}

/** Before and after, as a table. */
export function resultTable(before: EvaluationResult, after: EvaluationResult): string {
  const line = (name: string, pick: (r: EvaluationResult) => string) =>
    `${name.padEnd(28)} ${pick(before).padStart(9)} ${pick(after).padStart(9)}`;
  return [
    `${"".padEnd(28)} ${"before".padStart(9)} ${"after".padStart(9)}`,
    line(
      `success, ${before.episodes} held-out episodes`,
      (r) => `${(100 * r.successRate).toFixed(0)} %`,
    ),
    line("reward an episode", (r) => r.meanReward.toFixed(2)),
    line("control steps an episode", (r) => r.meanSteps.toFixed(1)),
    line("tokens a chunk", (r) => r.meanTokens.toFixed(1)),
  ].join("\n");
}
