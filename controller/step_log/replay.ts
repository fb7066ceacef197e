/**
 * Plays the commands of a step log on the simulation, and tells how far the simulated arms are from
 * those that were measured.
 *
 * The arms alone are played: physics goes on whatever the task thinks of it, and objects lie where
 * seed 0 puts them. A command acts until the time of the next one, in the physics' steps of 2 ms, so
 * logs of any rate play at their own pace, gaps included.
 *
 * @module
 */

import { yieldToEventLoop } from "../../common/yield_to_event_loop.ts";
import {
  ALOHA_DIM,
  ARM_DIM,
  ARM_NAMES,
  clipAction,
  CONTROL_PERIOD_MS,
  JOINTS_PER_ARM,
} from "../../common/robot/aloha.ts";
import { CAMERA_NAMES, type CameraName, type RgbImage } from "../../common/types.ts";
import { gripperToFingerM } from "../kinematics/arm_geometry.ts";
import { HOLD_REASONS, MOTION_RECORD } from "../motion/motion_memory.ts";
import { SERVOS_PER_ARM, SimulatedAloha } from "../sim/aloha_sim.ts";
import { SUBSTEPS } from "../sim/scene.ts";
import type { TaskName } from "../sim/task_names.ts";
import type { StepLog } from "./reader.ts";

/** What one picture shows. */
export interface ReplayFrame {
  /** Cycle of the log, from 0. */
  readonly cycle: number;
  /** Time since the first cycle, in s. */
  readonly timeS: number;
  /** The cameras' pictures. */
  readonly images: Readonly<Record<CameraName, RgbImage>>;
}

/** How a log is to be played. */
export interface SimulationReplayOptions {
  /** Whose scene is shown. */
  readonly task: TaskName;
  /** Ends the replay by throwing its reason. */
  readonly signal?: AbortSignal;
  /** Pictures to take; none if absent. */
  readonly frames?: {
    /** Cycles from one picture to the next, 1 or more. */
    readonly every: number;
    /** Width and height of a picture, 1–4096 pixels. */
    readonly size: number;
    /** Given each picture in turn, and awaited. */
    readonly onFrame: (frame: ReplayFrame) => Promise<void>;
  };
}

/** How far the simulated arms were from the measured ones. */
export interface SimulationReplay {
  /** Cycles that were compared. */
  readonly cycles: number;
  /** Root mean square of the difference `[14]`, in rad or openings. */
  readonly rms: readonly number[];
  /** Largest difference `[14]`, in rad or openings. */
  readonly max: readonly number[];
  /** Pictures that were taken. */
  readonly frames: number;
}

const PHYSICS_STEP_MS = CONTROL_PERIOD_MS / SUBSTEPS;

/** A longer gap is played as this long: by then the arms rest. */
const MAX_GAP_MS = 2000;

/** Cycles between two turns of the event loop. */
const CYCLES_A_TURN = 200;

const NOT_STARTED = HOLD_REASONS.indexOf("not started");

/**
 * Play a log.
 *
 * @param log The log.
 * @param options Scene and pictures.
 * @throws {RangeError} No cycle of the log has a command and a measured pose.
 */
export async function replayOnSimulation(
  log: StepLog,
  options: SimulationReplayOptions,
): Promise<SimulationReplay> {
  const { task, signal, frames } = options;
  using robot = await SimulatedAloha.create({ task, imageSize: frames?.size ?? 64 });
  const record = new Float64Array(MOTION_RECORD.length);
  const command = record.subarray(MOTION_RECORD.command, MOTION_RECORD.command + ALOHA_DIM);
  const measured = record.subarray(MOTION_RECORD.measured, MOTION_RECORD.measured + ALOHA_DIM);
  const state = new Float32Array(ALOHA_DIM);
  const squares = new Float64Array(ALOHA_DIM), max = new Float64Array(ALOHA_DIM);
  let compared = 0, pictures = 0, restMs = 0, isPlaced = false;
  for (let cycle = 0; cycle < log.cycles; cycle++) {
    if (cycle % CYCLES_A_TURN === 0) {
      await yieldToEventLoop();
      signal?.throwIfAborted();
    }
    log.read(cycle, record);
    if (record[MOTION_RECORD.hold] === NOT_STARTED || !isFinite(command) || !isFinite(measured)) {
      isPlaced = false;
      continue;
    }
    if (isPlaced) {
      restMs += Math.min(log.timesMs[cycle] - log.timesMs[cycle - 1], MAX_GAP_MS);
      const steps = Math.floor(restMs / PHYSICS_STEP_MS);
      robot.data.step(steps);
      restMs -= steps * PHYSICS_STEP_MS;
    } else {
      place(robot, measured);
      isPlaced = true;
    }
    robot.readState(state);
    for (let i = 0; i < ALOHA_DIM; i++) {
      const difference = Math.abs(state[i] - measured[i]);
      squares[i] += difference ** 2;
      max[i] = Math.max(max[i], difference);
    }
    if (frames !== undefined && compared % frames.every === 0) {
      robot.data.updatePoses();
      const images = Object.fromEntries(
        CAMERA_NAMES.map((camera) => [camera, robot.renderCamera(camera)]),
      ) as Record<CameraName, RgbImage>;
      await frames.onFrame({
        cycle,
        timeS: (log.timesMs[cycle] - log.timesMs[0]) / 1000,
        images,
      });
      pictures++;
    }
    compared++;
    writeServos(robot.data.views.ctrl, command);
  }
  if (compared === 0) {
    throw new RangeError(
      `Cannot replay: none of the log's ${log.cycles} cycles has a command and a measured pose`,
    );
  }
  return {
    cycles: compared,
    rms: Array.from(squares, (sum) => Math.sqrt(sum / compared)),
    max: Array.from(max),
    frames: pictures,
  };
}

/** Put the arms where they were measured, at rest. */
function place(robot: SimulatedAloha, pose: Float64Array): void {
  const { qpos, qvel } = robot.data.views;
  const arms = ARM_NAMES.length * SERVOS_PER_ARM;
  writeServos(qpos, pose);
  qvel.fill(0, 0, arms);
  writeServos(robot.data.views.ctrl, pose);
  robot.data.forward();
}

/** Spread 14 numbers over MuJoCo's 16 servos: a gripper is two fingers. */
function writeServos(out: Float64Array, pose: Float64Array): void {
  const clipped = new Float64Array(ALOHA_DIM);
  clipAction(pose, clipped);
  for (let arm = 0; arm < ARM_NAMES.length; arm++) {
    const from = arm * ARM_DIM, to = arm * SERVOS_PER_ARM;
    for (let i = 0; i < JOINTS_PER_ARM; i++) out[to + i] = clipped[from + i];
    const fingerM = gripperToFingerM(clipped[from + JOINTS_PER_ARM]);
    out.fill(fingerM, to + JOINTS_PER_ARM, to + SERVOS_PER_ARM);
  }
}

function isFinite(numbers: Float64Array): boolean {
  return numbers.every((x) => Number.isFinite(x));
}
