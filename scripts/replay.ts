/**
 * `deno task replay`: plays a step log on the simulation or on arms, or tells what is in it.
 * @module
 */

import { join } from "node:path";
import { encode } from "fast-png";
import { consoleLogger } from "../common/cli/logger.ts";
import { runMain } from "../common/cli/main.ts";
import { CONTROL_RATE_HZ } from "../common/robot/aloha.ts";
import { CAMERA_NAMES } from "../common/types.ts";
import { armsSettings } from "../controller/aloha/flags.ts";
import type { ArmsKind } from "../controller/aloha/robot_arms.ts";
import { TASK_NAMES, type TaskName } from "../controller/sim/task_names.ts";
import { jerkReport } from "../controller/step_log/jerk.ts";
import { readStepLog, type StepLog } from "../controller/step_log/reader.ts";
import { replayOnSimulation, type SimulationReplay } from "../controller/step_log/replay.ts";
import { replayPlan } from "../controller/step_log/replay_plan.ts";
import { summarize } from "../controller/step_log/summary.ts";
import { PieceFollower } from "./replay/on_arms.ts";
import { parseReplaySettings, type ReplaySettings } from "./replay/settings.ts";
import { jerkText, planText, simulationText, summaryText, trackingText } from "./replay/tables.ts";
import type { TrackingReport } from "./replay/tracking.ts";
import { moveWithProgress, withMovingArms } from "./robot/move.ts";

async function main(signal: AbortSignal): Promise<void> {
  const parsed = parseReplaySettings(Deno.args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const { settings } = parsed;
  const log = await readStepLog(settings.path);
  const summary = settings.summary ? summarize(log) : undefined;
  const jerk = settings.jerk ? jerkReport(log) : undefined;
  const plan = settings.check ? replayPlan(log, { speed: settings.speed }) : undefined;
  const isAsked = settings.summary || settings.jerk || settings.check;
  const { robot } = settings;
  const isSimulated = robot === "simulated" && (settings.frames !== null || !isAsked);
  const simulation = isSimulated ? await play(log, settings, signal) : undefined;
  const arms = robot === "simulated" ? undefined : await playOnArms(log, robot, settings, signal);
  if (settings.json) {
    const motion = plan && { ...plan, start: Array.from(plan.start), targets: undefined };
    return console.log(
      JSON.stringify({ header: log.header, summary, jerk, motion, simulation, arms }),
    );
  }
  const parts = [
    summary && summaryText(log.header, summary),
    jerk && jerkText(jerk),
    plan && planText(plan, settings.speed),
    simulation && simulationText(simulation),
    arms && trackingText(arms),
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

/** Check the arms, bring them to the motion's start, and make it; they hold afterwards. */
async function playOnArms(
  log: StepLog,
  kind: ArmsKind,
  settings: ReplaySettings,
  signal: AbortSignal,
): Promise<TrackingReport> {
  const { speed, json } = settings;
  const libraryVariable = Deno.env.get("TENDON_DXL_LIBRARY") ?? "";
  const armSettings = await armsSettings(kind, settings, libraryVariable);
  const plan = replayPlan(log, { speed, limits: armSettings.loaded.limits });
  const logger = consoleLogger({ name: "replay" });
  const say = json ? logger.info : console.log;
  let follower: PieceFollower | null = null;
  const seconds = (plan.steps / CONTROL_RATE_HZ).toFixed(1);
  return await withMovingArms({
    settings: armSettings,
    hasAgreed: settings.yes,
    intention: `Both arms will stiffen, their grippers will restart, and they will move to the ` +
      `log's first pose and then for ${seconds} s as the log says, at ${speed} of its speed: keep ` +
      "clear of them.",
    say,
    logger,
    signal,
    onRecord: (record) => follower?.record(record),
  }, async (moving) => {
    const { motion } = moving.arms;
    await moveWithProgress(moving, plan.start, "the log's first pose", say);
    say(`Replaying ${seconds} s …`);
    const pieces = follower = new PieceFollower(motion, plan.targets);
    await moving.move((signal) => pieces.run({ signal }));
    await moving.arms.motionStands();
    moving.takeRecords();
    return pieces.report();
  });
}

/** The log's own task, if the simulation has it: a real robot's task may be anything. */
function sceneOf(log: StepLog): TaskName {
  return TASK_NAMES.find((name) => name === log.header.task) ?? "reach";
}

if (import.meta.main) await runMain(main);
