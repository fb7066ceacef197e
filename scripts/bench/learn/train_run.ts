/**
 * One training run: a learner and a controller as two processes, as `deno task demo` has them.
 * @module
 */

import { join } from "node:path";
import type { Config } from "../../../common/config/config.ts";
import { PRESETS } from "../../../common/config/presets.ts";
import { parseConfig } from "../../../common/config/rules.ts";
import type { Logger } from "../../../common/types.ts";
import { type ChildEvent, configArguments, startProgram } from "../../demo/child.ts";
import type { Experiment, ExperimentVariant } from "./experiments.ts";
import { keyOf, type ResultFile, type RunKey, type RunResults } from "./result_lines.ts";

/** A run as it shall be. */
export interface PlannedRun extends RunKey {
  /** The learner's configuration. */
  readonly config: Config;
  /** The controller's. */
  readonly controller: Config;
}

/** Numbers of an update that are kept, where the learner says them. */
const KEPT = [
  "successRate",
  "episodeReward",
  "episodesFinished",
  "chunks",
  "chunksPerSecond",
  "collectSeconds",
  "updateSeconds",
  "weightAge",
  "staleChunks",
  "malformedChunks",
  "policyLoss",
  "valueLoss",
  "entropy",
  "approxKl",
  "clipFraction",
  "effectiveSampleSize",
] as const;

/**
 * Settle a run's configuration.
 *
 * @param overrides What the command line replaces for every variant.
 * @param checkpointDir Folder for checkpoints and metrics of all runs.
 * @throws {RangeError} If the settings contradict each other.
 */
export function planRun(
  experiment: Experiment,
  variant: ExperimentVariant,
  seed: number,
  overrides: Partial<Config>,
  checkpointDir: string,
): PlannedRun {
  const key = { experiment: experiment.name, variant: variant.name, seed };
  const config = parseConfig({
    ...PRESETS.demo,
    ...experiment.flags,
    ...variant.flags,
    ...overrides,
    seed,
    expName: keyOf(key),
    checkpointDir,
    wandb: false,
    port: 0,
    controllerPort: 0,
  });
  return { ...key, config, controller: parseConfig({ ...config, ...variant.controller }) };
}

/** What two runs must have in common to be the same: all settings that differ from the preset. */
export function settingsOf({ config, controller }: PlannedRun): Record<string, string | number> {
  const local = new Set<string>(["expName", "checkpointDir", "seed", "port", "controllerPort"]);
  local.add("wandb");
  const preset: Record<string, unknown> = { ...PRESETS.demo };
  const changed = Object.entries(config).filter(([field, value]) =>
    !local.has(field) && value !== preset[field]
  );
  const apart = Object.entries(controller).filter(([field, value]) =>
    value !== config[field as keyof Config]
  ).map(([field, value]) => [`controller.${field}`, value]);
  return Object.fromEntries([...changed, ...apart]);
}

/**
 * Train, or go on training. Progress goes to the result file.
 *
 * @param plan The run.
 * @param before What is known of it; undefined to begin anew.
 * @param file Takes updates and the end.
 * @param log Takes a line an update.
 * @param signal Stops both programs.
 */
export async function trainRun(
  plan: PlannedRun,
  before: RunResults | undefined,
  file: ResultFile,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const { experiment, variant, seed } = plan;
  const key = { experiment, variant, seed };
  const resumed = before === undefined ? undefined : await newestUpdate(plan);
  // A learner that resumes keeps to the anchor of its checkpoint flag, which it cannot be given twice.
  const isResumed = resumed !== undefined &&
    (plan.config.checkpoint === "" || plan.config.klWeight === 0);
  if (!isResumed) {
    await removeFolder(join(plan.config.checkpointDir, plan.config.expName));
    await file.append({ kind: "begin", ...key, settings: settingsOf(plan) });
  }
  const change: Partial<Config> = isResumed ? { resume: true, checkpoint: "" } : {};
  const earlier = isResumed
    ? before?.updates.find(({ update }) => update === resumed)?.wallSeconds ?? 0
    : 0;
  const start = performance.now();
  const seconds = () => round(earlier + (performance.now() - start) / 1000);

  // Lines are written one after the other, in order.
  let written = Promise.resolve();
  const learner = startProgram(
    "learner",
    configArguments({ ...plan.config, ...change }),
    (event) => {
      if (event.event !== "update") return;
      const update = Number(event.update);
      const line = { kind: "update", ...key, update, wallSeconds: seconds(), metrics: kept(event) };
      written = written.then(() => file.append(line as Parameters<ResultFile["append"]>[0]));
      // Whoever awaits the programs first must not be hit by this rejection; it is awaited below.
      written.catch(() => {});
      const success = typeof event.successRate === "number"
        ? `${(100 * event.successRate).toFixed(0)} %`
        : "–";
      log.info(
        `${keyOf(key)}: update ${update}, training success ${success}, ${line.wallSeconds} s`,
      );
    },
    signal,
  );
  await using _learner = learner;
  const { url } = await learner.listening;
  const learnerUrl = `${String(url).replace(/^http/, "ws")}/ws`;
  const controllerConfig = { ...plan.controller, ...change, learnerUrl };
  await using controller = startProgram(
    "controller",
    configArguments(controllerConfig),
    () => {},
    signal,
  );
  const [learned, controlled] = await Promise.all([learner.summary, controller.summary]);
  const wallSeconds = seconds();
  await written;
  const { event: _, ...summary } = controlled;
  await file.append({
    kind: "trained",
    ...key,
    updates: Number(learned.updates),
    controlSteps: Number(learned.controlSteps),
    wallSeconds,
    controller: summary,
  });
}

/** The newest checkpoint's update; undefined where there is none. */
async function newestUpdate({ config }: PlannedRun): Promise<number | undefined> {
  const updates = await checkpointUpdates(join(config.checkpointDir, config.expName));
  return updates.at(-1);
}

/**
 * Updates of the checkpoints in a run's folder, in order; none if it is not there.
 * @param folder The run's.
 */
export async function checkpointUpdates(folder: string): Promise<number[]> {
  const updates: number[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) {
      const update = /^step_(\d+)$/.exec(name)?.[1];
      if (update !== undefined) updates.push(Number(update));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return updates.sort((a, b) => a - b);
}

function kept(event: ChildEvent): Record<string, number | null> {
  return Object.fromEntries(KEPT.flatMap((name) => {
    const value = event[name];
    return value === null || typeof value === "number" ? [[name, value]] : [];
  }));
}

async function removeFolder(folder: string): Promise<void> {
  try {
    await Deno.remove(folder, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Hundredths. */
function round(seconds: number): number {
  return Math.round(100 * seconds) / 100;
}
