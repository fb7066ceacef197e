/**
 * Measures a run's checkpoints on held-out episodes, after the run.
 * @module
 */

import { join } from "node:path";
import { inspectCheckpoint } from "../../../common/checkpoint/checkpoint.ts";
import type { Config } from "../../../common/config/config.ts";
import { useDevice } from "../../../common/policy/backend.ts";
import { chooseCheckpoint } from "../../../common/policy/choose_checkpoint.ts";
import { loadPolicy } from "../../../common/policy/load.ts";
import type { Logger } from "../../../common/types.ts";
import { evaluatePolicy, type EvaluationResult } from "../../../controller/evaluation.ts";
import { createRobots } from "../../../controller/sim/create_robots.ts";
import { type EvaluationLine, keyOf, type ResultFile, type RunResults } from "./result_lines.ts";
import { checkpointUpdates, type PlannedRun } from "./train_run.ts";

/** Success on held-out episodes, as a trained robot acts: the likeliest token each time. */
export type Measure = (
  checkpoint: string,
  config: Config,
  signal: AbortSignal,
) => Promise<EvaluationResult>;

/**
 * Measure on the first held-out episodes; what was measured once is remembered.
 * @param episodes How many.
 */
export function heldOutMeasure(episodes: number): Measure {
  const known = new Map<string, Promise<EvaluationResult>>();
  const measure: Measure = async (checkpoint, config, signal) => {
    await useDevice(config.device);
    const { policy } = await loadPolicy(checkpoint, { ...config, normal: () => 0 });
    using _policy = policy;
    using robots = await createRobots(config, policy.shape.variant.siglip.imageSize);
    const asTrained = { temperature: 0, seed: 0, execution: config };
    return await evaluatePolicy(policy, robots.all, { episodes, signal, ...asTrained });
  };
  return (checkpoint, config, signal) => {
    // Seeds of one variant begin with the same policy; another variant may act differently with it.
    const { seed: _seed, expName: _name, ...acting } = config;
    const key = JSON.stringify([checkpoint, acting]);
    const result = known.get(key) ?? measure(checkpoint, config, signal);
    known.set(key, result);
    return result;
  };
}

/**
 * Which updates of a trained run are to be measured: the start, every checkpoint, the end.
 * @param config The run's.
 * @param updates Updates that it made.
 */
export function measuredUpdates(
  { saveEveryUpdates }: Pick<Config, "saveEveryUpdates">,
  updates: number,
): number[] {
  const wanted = [0, updates];
  if (saveEveryUpdates > 0) {
    for (let u = saveEveryUpdates; u < updates; u += saveEveryUpdates) wanted.push(u);
  }
  return [...new Set(wanted)].sort((a, b) => a - b);
}

/**
 * Which updates still lack their measurement.
 * @param run What is known; it must be trained.
 */
export function missingUpdates(plan: PlannedRun, run: RunResults): number[] {
  const known = new Set(run.evaluations.map(({ update }) => update));
  return measuredUpdates(plan.config, run.trained?.updates ?? 0).filter((u) => !known.has(u));
}

/**
 * Measure what is missing, then remove all checkpoints but the last.
 *
 * @param file Takes the measurements.
 * @throws {Error} If a checkpoint that is to be measured is gone.
 */
export async function evaluateRun(
  plan: PlannedRun,
  run: RunResults,
  measure: Measure,
  file: ResultFile,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const { experiment, variant, seed, config } = plan;
  const folder = join(config.checkpointDir, config.expName);
  for (const update of missingUpdates(plan, run)) {
    signal.throwIfAborted();
    const path = update === 0
      ? (await chooseCheckpoint({ ...config, resume: false })).path
      : join(folder, `step_${update}`);
    const { training } = await inspectCheckpoint(path);
    const { seconds: _, meanTokens: __, ...result } = await measure(path, config, signal);
    const line: EvaluationLine = {
      kind: "evaluation",
      ...{ experiment, variant, seed, update },
      controlSteps: update === 0 ? 0 : training.controlSteps,
      wallSeconds: run.updates.find((line) => line.update === update)?.wallSeconds ?? 0,
      ...result,
    };
    await file.append(line);
    log.info(
      `${keyOf(plan)}: ${(100 * line.successRate).toFixed(1)} % of ${line.episodes} held-out ` +
        `episodes after ${line.controlSteps} control steps`,
    );
  }
  const last = run.trained?.updates;
  for (const update of await checkpointUpdates(folder)) {
    if (update !== last) await Deno.remove(join(folder, `step_${update}`), { recursive: true });
  }
}
