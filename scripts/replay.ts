/**
 * `deno task replay`: plays a step log on the simulation, or tells what is in it.
 * @module
 */

import { join } from "node:path";
import { encode } from "fast-png";
import { runMain } from "../common/cli/main.ts";
import { CAMERA_NAMES } from "../common/types.ts";
import { TASK_NAMES, type TaskName } from "../controller/sim/task_names.ts";
import { jerkReport } from "../controller/step_log/jerk.ts";
import { readStepLog, type StepLog } from "../controller/step_log/reader.ts";
import { replayOnSimulation, type SimulationReplay } from "../controller/step_log/replay.ts";
import { replayPlan } from "../controller/step_log/replay_plan.ts";
import { summarize } from "../controller/step_log/summary.ts";
import { HELP, parseReplaySettings, type ReplaySettings } from "./replay/settings.ts";
import { jerkText, planText, simulationText, summaryText } from "./replay/tables.ts";

async function main(signal: AbortSignal): Promise<void> {
  const settings = parseReplaySettings(Deno.args);
  if (settings === null) return console.log(HELP);
  const log = await readStepLog(settings.path);
  const summary = settings.summary ? summarize(log) : undefined;
  const jerk = settings.jerk ? jerkReport(log) : undefined;
  const plan = settings.check ? replayPlan(log, { speed: settings.speed }) : undefined;
  const isAsked = settings.summary || settings.jerk || settings.check;
  const isPlayed = settings.frames !== null || !isAsked;
  const simulation = isPlayed ? await play(log, settings, signal) : undefined;
  if (settings.json) {
    const motion = plan && { ...plan, start: Array.from(plan.start), targets: undefined };
    return console.log(JSON.stringify({ header: log.header, summary, jerk, motion, simulation }));
  }
  const parts = [
    summary && summaryText(log.header, summary),
    jerk && jerkText(jerk),
    plan && planText(plan, settings.speed),
    simulation && simulationText(simulation),
    simulation && settings.frames !== null && `${simulation.frames} pictures in ${settings.frames}`,
  ];
  console.log(parts.filter((part) => part).join("\n\n"));
}

async function play(
  log: StepLog,
  { frames, every, size, task }: ReplaySettings,
  signal: AbortSignal,
): Promise<SimulationReplay> {
  if (frames !== null) await Deno.mkdir(frames, { recursive: true });
  return await replayOnSimulation(log, {
    task: task ?? sceneOf(log),
    signal,
    frames: frames === null ? undefined : {
      every,
      size,
      onFrame: async ({ cycle, images }) => {
        for (const camera of CAMERA_NAMES) {
          const { width, height, data } = images[camera];
          const name = `${String(cycle).padStart(7, "0")}_${camera}.png`;
          await Deno.writeFile(join(frames, name), encode({ width, height, data, channels: 3 }));
        }
      },
    },
  });
}

/** The log's own task, if the simulation has it: a real robot's task may be anything. */
function sceneOf(log: StepLog): TaskName {
  return TASK_NAMES.find((name) => name === log.header.task) ?? "reach";
}

if (import.meta.main) await runMain(main);
