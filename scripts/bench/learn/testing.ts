/**
 * Runs made up by hand, for tests of what is made of them.
 * @module
 */

import { groupRuns, type ResultLine, type RunResults } from "./result_lines.ts";

/**
 * A trained run with measurements at updates 0, 1, 2, …, 1,000 control steps and 10 s apart.
 *
 * @param variant Name of the variant.
 * @param seed Seed of the run.
 * @param success Success at each measurement, 0–1; at least one.
 */
export function madeUpRun(variant: string, seed: number, success: readonly number[]): RunResults {
  const key = { experiment: "reach", variant, seed };
  const last = success.length - 1;
  const lines: ResultLine[] = [
    { kind: "begin", ...key, settings: { learningRate: 1e-4, decoupled: true } },
    ...success.slice(1).map((rate, i): ResultLine => ({
      kind: "update",
      ...key,
      update: i + 1,
      wallSeconds: 10 * (i + 1),
      metrics: { successRate: rate, episodeReward: null, weightAge: i },
    })),
    { kind: "trained", ...key, updates: last, controlSteps: 1000 * last, wallSeconds: 10 * last },
    ...success.map((successRate, update): ResultLine => ({
      kind: "evaluation",
      ...key,
      update,
      controlSteps: 1000 * update,
      wallSeconds: 10 * update,
      episodes: 200,
      successRate,
      meanReward: 1,
      meanSteps: 20,
    })),
  ];
  return groupRuns(lines)[0];
}
