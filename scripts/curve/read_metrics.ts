/**
 * Reads what a learning curve shows out of a run's `metrics.jsonl`.
 * @module
 */

import { basename, dirname } from "node:path";
import { z } from "zod";

/** One update of a run. */
export interface CurvePoint {
  /** Number of the update, from 1. */
  readonly update: number;
  /** Share of the episodes finished since the last update that succeeded, 0–1; null if none has. */
  readonly successRate: number | null;
  /** Their mean sum of rewards; null if none has finished. */
  readonly episodeReward: number | null;
}

/** The curve of one run. */
export interface RunCurve {
  /** What the legend calls it. */
  readonly name: string;
  /** By growing update, each once. */
  readonly points: readonly CurvePoint[];
}

const pointSchema = z.object({
  update: z.int().min(0),
  successRate: z.number().min(0).max(1).nullable(),
  episodeReward: z.number().nullable(),
});

/**
 * Parse a run's metrics.
 *
 * @param text One JSON object a line; empty lines are passed over. Of an update that is there twice,
 *   as after a resumed run, the later line counts.
 * @param path The file, for errors; the run is named after its folder.
 * @throws {SyntaxError} If a line is no JSON object or lacks a field, or there is no line at all.
 */
export function parseMetrics(text: string, path: string): RunCurve {
  const byUpdate = new Map<number, CurvePoint>();
  text.split("\n").forEach((line, i) => {
    if (line.trim() === "") return;
    const point = parseLine(line, `line ${i + 1} of ${path}`);
    byUpdate.set(point.update, point);
  });
  if (byUpdate.size === 0) {
    throw new SyntaxError(
      `Cannot read ${path}: it has no updates yet; let the learner finish one first`,
    );
  }
  const points = [...byUpdate.values()].sort((a, b) => a.update - b.update);
  return { name: runName(path), points };
}

function parseLine(line: string, where: string): CurvePoint {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new SyntaxError(
      `Cannot read ${where}: it is not JSON; remove the line if it was cut short`,
      { cause },
    );
  }
  const parsed = pointSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new SyntaxError(
    `Cannot read ${where}: ${issue.path.join(".") || "the line"} is wrong (${issue.message}); ` +
      "expected a learner's metrics.jsonl",
  );
}

/** `checkpoints/seed_3/metrics.jsonl` → `seed_3`; a file of another name is called by it. */
function runName(path: string): string {
  const file = basename(path, ".jsonl");
  const folder = basename(dirname(path));
  return file === "metrics" && folder !== "" && folder !== "." ? folder : file;
}

/** A number that is drawn over the updates. */
export type CurveField = "successRate" | "episodeReward";

/** A curve's corner: number of the update and value. */
export type Corner = readonly [update: number, value: number];

/** The updates at which a number is known, in order. */
export function knownPoints(points: readonly CurvePoint[], field: CurveField): Corner[] {
  return points.flatMap((point) => {
    const value = point[field];
    return value === null ? [] : [[point.update, value] as const];
  });
}

/**
 * The mean over runs. Between two known updates a run counts with what its drawn line shows there,
 * so that runs that report in turns do not make the mean jump; before its first and after its last
 * one it does not count.
 *
 * @param runs At least one.
 * @param field What to average.
 * @returns One corner an update at which some run is known, in order.
 */
export function meanCurve(runs: readonly RunCurve[], field: CurveField): Corner[] {
  const curves = runs.map((run) => knownPoints(run.points, field));
  const updates = [...new Set(curves.flat().map(([update]) => update))].sort((a, b) => a - b);
  return updates.map((update) => {
    const values = curves.flatMap((curve) => valueAt(curve, update) ?? []);
    return [update, values.reduce((sum, value) => sum + value, 0) / values.length] as const;
  });
}

/** A curve's height at an update, on the straight line between its neighbours. */
function valueAt(curve: readonly Corner[], update: number): number | undefined {
  const next = curve.findIndex(([at]) => at >= update);
  if (next < 0) return undefined;
  const [right, high] = curve[next];
  if (right === update) return high;
  if (next === 0) return undefined;
  const [left, low] = curve[next - 1];
  return low + (high - low) * (update - left) / (right - left);
}
