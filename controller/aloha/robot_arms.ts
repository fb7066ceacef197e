/**
 * Both arms of a robot with their threads: one for each bus, one that moves both. Real servos or
 * emulated ones; from here on nobody knows the difference.
 *
 * What is done to the arms as a whole is here: look at them, make them hold, bring them to a pose, let
 * them go. When it is done is the supervisor's to say.
 *
 * @module
 */

import {
  ALOHA_DIM,
  ARM_DIM,
  ARM_NAMES,
  type ArmName,
  CONTROL_PERIOD_MS,
  JOINTS_PER_ARM,
  STATE_NAMES,
} from "../../common/robot/aloha.ts";
import type { Logger } from "../../common/types.ts";
import { type ArmCheck, checkArm } from "../arms/arm_check.ts";
import { planPose, sleepPose } from "../arms/poses.ts";
import { prepareArm } from "../arms/prepare_arm.ts";
import { rebootGripper, recoverServos } from "../arms/restart_servos.ts";
import { GRIPPER_ID, SERVO_LAYOUT } from "../arms/servo_layout.ts";
import { servoLabel } from "../arms/servo_faults.ts";
import { disableTorque, enableTorque } from "../arms/torque.ts";
import { ticksToCommand, ticksToState } from "../arms/units.ts";
import { readItem, readItems } from "../arms/verified_write.ts";
import { armWatchdog, disarmWatchdog } from "../arms/watchdog.ts";
import { EmulatorHost } from "../dynamixel/emulator/emulator_host.ts";
import { viperXServos } from "../dynamixel/emulator/viperx_arm.ts";
import { GOAL_IDS } from "../dynamixel/thread/bus_memory.ts";
import type { DriverChoice } from "../dynamixel/open_bus.ts";
import { BusThread } from "../dynamixel/thread/bus_thread.ts";
import type { BusEvent, BusRateHz } from "../dynamixel/thread/messages.ts";
import { describeHold } from "../motion/motion_status.ts";
import { MotionThread } from "../motion/motion_thread.ts";
import type { SafetyLimits } from "../safety/limits.ts";
import { StopLatch } from "../safety/stop_latch.ts";
import { createWorkspaceCheck } from "../safety/workspace.ts";
import { sharedNowMs } from "../threads/clock.ts";

/** Which arms are driven. */
export type ArmsKind = "emulated" | "aloha";

/** What {@link RobotArms.open} is told. */
export interface RobotArmsOptions {
  /** Real servos, or the emulator's on pseudo-terminals of this machine. */
  readonly kind: ArmsKind;
  /** Devices of the real arms; not looked at for emulated ones. */
  readonly ports: Readonly<Record<ArmName, string>>;
  /** Driver of the buses. */
  readonly driver: DriverChoice;
  /** ROBOTIS' library from the command line; empty for the usual search. */
  readonly library: string;
  /** The same from the environment. */
  readonly libraryVariable: string;
  /** Cycles a second of the buses. */
  readonly rateHz: BusRateHz;
  /** Limits in force. */
  readonly limits: SafetyLimits;
  /** Everything is done but torque. */
  readonly isDryRun: boolean;
  /**
   * Where emulated arms stand at first `[14]`: rad, grippers 0–1. Lying at rest with closed grippers
   * unless told.
   */
  readonly startPose?: Float32Array;
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Called with every event of a bus. */
  readonly onBusEvent: (arm: ArmName, event: BusEvent) => void;
  /** Called with a sentence when the motion thread ends by itself. */
  readonly onMotionFailure: (sentence: string) => void;
}

/** Seed of the emulated buses' faults. */
const EMULATOR_SEED = 1;
/** ALOHA's line rate, in bit/s. */
export const BAUD_RATE = 1_000_000;
/** Cycles of the threads begin this long after they are made: they take about 0.2 s to start. */
const EPOCH_LEAD_MS = 500;
/** Longest wait beyond a plan's own time for the arms to arrive, in ms: gravity and lag. */
const ARRIVAL_MS = 3_000;
/** How far a joint may be from a pose that it has arrived at, in rad; the arms sag a little. */
const ARRIVAL_RAD = 0.15;
/** Control steps within which the motion thread has seen a plan for sure, unless it has forgotten it. */
const UNSEEN_STEPS = 10;
/** How often a way to a pose is planned anew after it was forgotten: a busy machine, not a broken one. */
const MAX_FORGOTTEN = 5;
/** Time between two looks at something that another thread does, in ms. */
const POLL_MS = 10;

const ALL_SERVOS = SERVO_LAYOUT.map(({ id }) => id);
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Open arms. Owner of their threads, ports and, when they are emulated, of the emulator. */
export class RobotArms implements AsyncDisposable {
  /** The emergency stop that every thread looks at. */
  readonly latch: StopLatch;
  /** The buses. */
  readonly buses: Readonly<Record<ArmName, BusThread>>;
  /** The thread that moves both arms. */
  readonly motion: MotionThread;
  /** The emulator, for those who inject faults; null for real arms. */
  readonly emulator: EmulatorHost | null;
  readonly #options: RobotArmsOptions;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<RobotArms, "latch" | "buses" | "motion" | "emulator">,
    options: RobotArmsOptions,
    stack: AsyncDisposableStack,
  ) {
    this.latch = parts.latch;
    this.buses = parts.buses;
    this.motion = parts.motion;
    this.emulator = parts.emulator;
    this.#options = options;
    this.#stack = stack;
  }

  /**
   * Open both buses and start the threads. No servo is touched.
   *
   * @param options Which arms, how and within which limits.
   * @returns The arms, idle.
   * @throws {BusError} A port cannot be opened.
   * @throws {Error} A driver or a thread does not start; the sentence says what to do.
   */
  static async open(options: RobotArmsOptions): Promise<RobotArms> {
    const { kind, rateHz, limits, isDryRun, logger } = options;
    await using stack = new AsyncDisposableStack();
    const emulator = kind === "emulated" ? await startEmulator(options.startPose, stack) : null;
    const latch = new StopLatch();
    const epochMs = sharedNowMs() + EPOCH_LEAD_MS;
    const openBus = async (arm: ArmName) => {
      const bus = await BusThread.open({
        name: `${arm} arm`,
        openBus: {
          port: emulator?.ports[ARM_NAMES.indexOf(arm)] ?? options.ports[arm],
          baudRate: BAUD_RATE,
          driver: options.driver,
          library: options.library,
          libraryVariable: options.libraryVariable,
        },
        rateHz,
        epochMs,
        latch: latch.memory,
        logger,
        onEvent: (event) => options.onBusEvent(arm, event),
      });
      return stack.use(bus);
    };
    const buses = { left: await openBus("left"), right: await openBus("right") };
    logger.info(buses.left.driverReason);
    logger.info(buses.left.realtime);
    const motion = stack.use(
      await MotionThread.open({
        limits,
        rateHz,
        epochMs,
        latch: latch.memory,
        buses: { left: buses.left.memory, right: buses.right.memory },
        isDryRun,
        logger,
        onFailure: options.onMotionFailure,
      }),
    );
    return new RobotArms({ latch, buses, motion, emulator }, options, stack.move());
  }

  /** Whether torque stays off. */
  get isDryRun(): boolean {
    return this.#options.isDryRun;
  }

  /** Look at every servo of both arms. @throws {BusError} A port is gone. */
  async check(): Promise<ArmCheck[]> {
    return await Promise.all(ARM_NAMES.map((arm) => checkArm(this.buses[arm], arm)));
  }

  /**
   * Make both arms hold where they are, by torque, and let the motion thread begin from there.
   *
   * @param signal Ends it between two parts by throwing its reason.
   * @throws {Error} A servo does not do what it must, or has torque in a dry run; the sentence says which
   * and what to do.
   */
  async engage(signal: AbortSignal): Promise<void> {
    const { limits, isDryRun, logger } = this.#options;
    await this.#forBoth(async (arm) => {
      await this.#pauseCycles(arm);
      if (isDryRun) await this.#refuseTorque(arm);
      const changes = await prepareArm(this.buses[arm], limits.arms[arm], { isDryRun });
      for (const change of changes) logger.info(`The ${arm} arm: ${change}`);
      signal.throwIfAborted();
      await enableTorque(this.buses[arm], { isDryRun });
    }, signal);
    await this.#startCycles(signal);
  }

  /**
   * Bring both arms to a pose along a smooth way.
   *
   * @param pose 14 commands: rad, grippers 0–1.
   * @param signal Ends it by holding the pose and throwing its reason.
   * @throws {Error} The arms do not arrive; the sentence says what keeps them.
   */
  async moveTo(pose: Float32Array, signal: AbortSignal): Promise<void> {
    const { limits } = this.#options;
    const workspace = createWorkspaceCheck(limits.workspace);
    this.motion.resume();
    let forgotten = 0;
    for (let isComplete = false; !isComplete;) {
      const plan = planPose(this.motion.status().command, pose, { limits, workspace });
      if (!plan.isClear) {
        this.#options.logger.warn(
          `The way to the pose goes ${(-1000 * plan.nearest.slackM).toFixed(1)} mm into the ` +
            `clearance of ${plan.nearest.what}; the arms stop where it is too near`,
        );
      }
      const { step } = this.motion.status();
      const planId = this.motion.follow(plan.targets);
      const deadlineMs = sharedNowMs() + plan.steps * CONTROL_PERIOD_MS + ARRIVAL_MS;
      for (let isDone = false; !isDone;) {
        await sleep(POLL_MS);
        signal.throwIfAborted();
        const status = this.motion.status();
        isDone = status.planId === planId && status.stepsLeft === 0 && status.isStill &&
          this.#isNear(plan.targets.subarray(-ALOHA_DIM));
        // This thread was silent for a while, so the arms hold somewhere on the way: plan from there.
        const isForgotten = status.planId !== planId && status.step > step + UNSEEN_STEPS;
        if (isForgotten && ++forgotten <= MAX_FORGOTTEN) break;
        isComplete = isDone && plan.isComplete;
        if (isDone || sharedNowMs() < deadlineMs) continue;
        throw new Error(`The arms do not arrive at the pose: ${this.#whyNot(plan.targets)}`);
      }
    }
  }

  /**
   * Restart the servos of both grippers, which forget an overload by it, as openpi does at every reset.
   * The arms hold meanwhile.
   *
   * @param signal Ends it between two parts by throwing its reason.
   * @throws {Error} A gripper does not come back.
   */
  async restartGrippers(signal: AbortSignal): Promise<void> {
    const { limits, isDryRun } = this.#options;
    try {
      await this.#forBoth(async (arm) => {
        await this.#pauseCycles(arm);
        this.buses[arm].expectSilence([GRIPPER_ID]);
        await rebootGripper(this.buses[arm], limits.arms[arm], { sleep, isDryRun });
      }, signal);
      await this.#startCycles(signal);
    } finally {
      for (const arm of ARM_NAMES) this.buses[arm].expectSilence([]);
    }
  }

  /** Lay both arms down and let them go. @throws {Error} The arms do not arrive; they keep torque then. */
  async sleep(signal: AbortSignal): Promise<void> {
    await this.moveTo(sleepPose(), signal);
    await this.letGo();
  }

  /** Take the torque of all servos away. @throws {Error} Some may still have torque: which, and why. */
  async letGo(): Promise<void> {
    const results = await Promise.allSettled(ARM_NAMES.map(async (arm) => {
      await this.buses[arm].setMode("monitor");
      await disableTorque(this.buses[arm]);
    }));
    const failures = results.flatMap((r) => r.status === "rejected" ? [String(r.reason)] : []);
    if (failures.length > 0) throw new Error(failures.join("; "));
  }

  /**
   * Restart the servos that have shut down, and look at both arms again. Nothing is driven afterwards,
   * but the servos are still listened to.
   *
   * @returns The arms as they are then, and which servos were restarted.
   * @throws {Error} A servo is too hot still, or does not come back.
   */
  async recover(): Promise<{ readonly checks: ArmCheck[]; readonly restarted: string[] }> {
    const { limits, isDryRun } = this.#options;
    const restarted: string[] = [];
    try {
      for (const arm of ARM_NAMES) {
        await this.#pauseCycles(arm);
        const bus = this.buses[arm];
        const ids = await recoverServos(bus, arm, ALL_SERVOS, limits.arms[arm], {
          sleep,
          isDryRun,
        });
        restarted.push(...ids.map((id) => `servo ${id} of the ${arm} arm`));
      }
      return { checks: await this.check(), restarted };
    } finally {
      // A servo that is too hot is waited for: somebody should see how it cools.
      await Promise.allSettled(
        ARM_NAMES.filter((arm) => this.buses[arm].mode === "idle")
          .map((arm) => this.buses[arm].setMode("monitor")),
      );
    }
  }

  /**
   * Where the arms are now.
   *
   * @returns ALOHA's 14 numbers: rad, grippers as their linear opening 0–1; NaN where none is known.
   */
  measured(): Float32Array {
    const state = new Float32Array(ALOHA_DIM).fill(NaN);
    for (const arm of ARM_NAMES) {
      const now = this.buses[arm].readState();
      if (now !== null) ticksToState(now.servos.map((s) => s.positionTicks), arm, state);
    }
    return state;
  }

  /**
   * Close the threads. Servos keep their torque and hold; their watchdogs are switched off first, where
   * a bus still answers, so that the next start finds them well.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const driven = ARM_NAMES.filter((arm) => this.buses[arm].mode === "drive");
    if (driven.length > 0) await this.motionStands();
    await Promise.all(
      driven.map((arm) =>
        disarmWatchdog(this.buses[arm]).catch((error) =>
          this.#options.logger.warn(`The watchdogs of the ${arm} arm stay armed: ${error.message}`)
        )
      ),
    );
    await this.motion[Symbol.asyncDispose]();
    // Each takes its time to let go of its port; the stack only finds them closed then.
    await Promise.all(ARM_NAMES.map((arm) => this.buses[arm][Symbol.asyncDispose]()));
    await this.#stack[Symbol.asyncDispose]();
  }

  /** Order a hold and wait, for a second at most, until no command moves any more. */
  async motionStands(): Promise<void> {
    this.motion.hold();
    const endMs = sharedNowMs() + 1000;
    while (!this.motion.status().isStill && sharedNowMs() < endMs) await sleep(POLL_MS);
  }

  /**
   * Watchdogs off, then no cycles: single servos may be silent now, goals are set one by one, and calls
   * need not wait for a gap between cycles.
   */
  async #pauseCycles(arm: ArmName): Promise<void> {
    const bus = this.buses[arm];
    if (bus.mode === "drive") await disarmWatchdog(bus);
    await bus.setMode("idle");
  }

  /** A dry run switches no torque on, but a servo that has it would follow the goals all the same. */
  async #refuseTorque(arm: ArmName): Promise<void> {
    for (const id of ALL_SERVOS) {
      if (await readItem(this.buses[arm], id, "torqueEnable") === 0) continue;
      throw new Error(
        `Cannot make a dry run: ${servoLabel(arm, id)} has torque and would move; lay the arms ` +
          "down and run `deno task robot torque-off`",
      );
    }
  }

  async #startCycles(signal: AbortSignal): Promise<void> {
    const goals = await this.#heldGoals();
    // Driving writes nothing before the motion thread has made a setpoint of where it begins.
    await this.#forBoth((arm) => this.buses[arm].setMode("drive"), signal);
    await this.motion.restart(goals);
    await this.#forBoth((arm) => armWatchdog(this.buses[arm]), signal);
  }

  /** The commands that the servos hold by torque; NaN for those without. */
  async #heldGoals(): Promise<Float64Array> {
    const goals = new Float64Array(ALOHA_DIM);
    await Promise.all(ARM_NAMES.map(async (arm) => {
      const ticks = await Promise.all(GOAL_IDS.map(async (id) => {
        const [torque, goal] = await readItems(this.buses[arm], id, [
          "torqueEnable",
          "goalPosition",
        ]);
        return torque === 1 ? goal : NaN;
      }));
      ticksToCommand(ticks, arm, goals);
    }));
    return goals;
  }

  async #forBoth(work: (arm: ArmName) => Promise<void>, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    // Both are waited for, or one would go on behind the back of whoever hears that the other failed.
    const results = await Promise.allSettled(ARM_NAMES.map(work));
    for (const result of results) if (result.status === "rejected") throw result.reason;
    signal.throwIfAborted();
  }

  /** Whether the joints are at a pose; grippers may hold something. In a dry run nothing moves. */
  #isNear(pose: Float32Array): boolean {
    if (this.#options.isDryRun) return true;
    const measured = this.measured();
    return pose.every((target, i) => isGripper(i) || Math.abs(target - measured[i]) <= ARRIVAL_RAD);
  }

  #whyNot(targets: Float32Array): string {
    const status = this.motion.status();
    if (status.hold !== "none" && status.hold !== "no plan") return describeHold(status);
    const goal = targets.subarray(-ALOHA_DIM), measured = this.measured();
    const [worst] = Array.from(goal, (value, i) => ({ i, gap: Math.abs(value - measured[i]) }))
      .filter(({ i }) => !isGripper(i)).sort((a, b) => b.gap - a.gap);
    return `${STATE_NAMES[worst.i]} is ${worst.gap.toFixed(2)} rad away, at most ` +
      `${ARRIVAL_RAD} are allowed; look for what blocks the arm`;
  }
}

const isGripper = (i: number) => i % ARM_DIM === JOINTS_PER_ARM;

/**
 * Start both emulated arms, on devices that keep their names, as those of a robot do by udev.
 *
 * @param pose Where they stand at first `[14]`; in their sleep pose unless told.
 * @param stack Owner of the emulator and of its devices' folder.
 * @returns The emulator, a bus for each arm, left first.
 * @throws {Error} This machine has no pseudo-terminals.
 */
export async function startEmulator(
  pose: Float32Array | undefined,
  stack: AsyncDisposableStack,
): Promise<EmulatorHost> {
  const folder = await Deno.makeTempDir({ prefix: "tendon-arms-" });
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const buses = ARM_NAMES.map((arm, i) => ({
    arm,
    servos: viperXServos(pose?.subarray(i * ARM_DIM, (i + 1) * ARM_DIM)),
    linkPath: `${folder}/${arm}`,
    seed: EMULATOR_SEED + i,
  }));
  return stack.use(await EmulatorHost.start(buses));
}
