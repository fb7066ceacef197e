/**
 * Arms that a tool moves: open, watched and stopped.
 *
 * The signal stops all motion at once through the latch that every thread looks at before it writes.
 * Trouble of the arms themselves does the same, and says what it was.
 *
 * @module
 */

import { ARM_NAMES, type ArmName } from "../../common/robot/aloha.ts";
import type { Logger } from "../../common/types.ts";
import type { ArmsSettings } from "../../controller/aloha/flags.ts";
import { RobotArms } from "../../controller/aloha/robot_arms.ts";
import { armTable } from "../../controller/arms/arm_check.ts";
import { faultSentence } from "../../controller/arms/servo_faults.ts";
import type { BusEvent } from "../../controller/dynamixel/thread/messages.ts";
import type { HoldReason } from "../../controller/motion/motion_memory.ts";
import { describeHold } from "../../controller/motion/motion_status.ts";
import { sharedNowMs } from "../../controller/threads/clock.ts";
import { describeRefusals } from "./check.ts";

/** Time between two looks at the motion thread, in ms; it wants a sign of life every 50 ms. */
const PUMP_MS = 5;
/** Every servo's health is read within this time, in ms: older readings tell of what was before. */
const HEALTH_ROUND_MS = 1_500;
/** Wait after a stop until the last command that may still be on its way has been sent, in ms. */
const SETTLE_MS = 100;
/** Holds that end by a person's help only. */
const FAULT_HOLDS: readonly HoldReason[] = ["over-current", "off track", "arm silent"];

/** What a tool leaves behind, in words that follow "The arms". */
export type ArmsState =
  | "are as they were: nothing was switched"
  | "may hold in part: run `deno task robot check`"
  | "hold where they stand, with torque on; `deno task robot sleep` lays them down"
  | "stand still in a dry run, without torque"
  | "have no torque";

/** What {@link MovingArms.open} is told. */
export interface MovingArmsOptions {
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Takes lines about how far things are. */
  readonly say: (line: string) => void;
  /** Stops all motion. */
  readonly signal: AbortSignal;
  /** Called with every record of the motion thread; not to be kept. */
  readonly onRecord?: (record: Float64Array) => void;
}

/** How a stop went. */
export interface StopReport {
  /** Time from the stop to the last command that moved a servo, in ms; 0 if none came after it. */
  readonly lastMotionMs: number;
}

/** Open arms. */
export class MovingArms implements AsyncDisposable {
  /** The arms. */
  readonly arms: RobotArms;
  /** Aborted by the tool's signal and by trouble of the arms. */
  readonly signal: AbortSignal;
  readonly #options: MovingArmsOptions;
  readonly #trouble: AbortController;
  readonly #timer: ReturnType<typeof setInterval>;
  #state: ArmsState = "are as they were: nothing was switched";
  #movingSinceMs = Infinity;
  #stopMs = NaN;

  private constructor(arms: RobotArms, trouble: AbortController, options: MovingArmsOptions) {
    this.arms = arms;
    this.#options = options;
    this.#trouble = trouble;
    this.signal = AbortSignal.any([options.signal, trouble.signal]);
    this.signal.addEventListener("abort", () => this.#stop(), { once: true });
    if (this.signal.aborted) this.#stop();
    this.#timer = setInterval(() => this.#pump(), PUMP_MS);
  }

  /**
   * Open both arms, idle.
   *
   * @param settings Which arms, how and within which limits.
   * @param options Who is told, and what stops them.
   * @returns The arms.
   * @throws {Error} A port, a driver or a thread cannot be opened.
   */
  static async open(settings: ArmsSettings, options: MovingArmsOptions): Promise<MovingArms> {
    const { loaded: { limits, widenings } } = settings;
    for (const { name, value, defaultValue } of widenings) {
      options.logger.warn(`The limit ${name} is ${value}, wider than the default ${defaultValue}`);
    }
    const trouble = new AbortController();
    // The buses may speak before there is somebody to hear; what they say then the check finds, too.
    let hear = (_arm: ArmName, _event: BusEvent): void => {};
    const arms = await RobotArms.open({
      ...settings,
      limits,
      logger: options.logger,
      onBusEvent: (arm, event) => hear(arm, event),
      onMotionFailure: (sentence) => trouble.abort(new Error(sentence)),
    });
    const moving = new MovingArms(arms, trouble, options);
    hear = (arm, event) => moving.#onBusEvent(arm, event);
    return moving;
  }

  /** What would be left behind now. */
  get state(): ArmsState {
    return this.#state;
  }

  /** Look at both arms and print their tables. @throws {Error} An arm is refused. */
  async check(): Promise<void> {
    const checks = await this.arms.check();
    for (const check of checks) this.#options.say(armTable(check) + "\n");
    const refusals = describeRefusals(checks);
    if (refusals !== "") throw new Error(`The arms cannot be driven: ${refusals}`);
    this.signal.throwIfAborted();
  }

  /** Make both arms hold by torque, and restart their grippers. @throws {Error} A servo does not obey. */
  async engage(): Promise<void> {
    this.signal.throwIfAborted();
    this.#state = "may hold in part: run `deno task robot check`";
    await this.arms.engage(this.signal);
    this.#state = this.arms.isDryRun
      ? "stand still in a dry run, without torque"
      : "hold where they stand, with torque on; `deno task robot sleep` lays them down";
    await this.arms.restartGrippers(this.signal);
  }

  /**
   * Move, under watch.
   *
   * @param work Moves the arms; ends early when its signal does.
   * @returns What the work gives.
   */
  async move<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.signal.throwIfAborted();
    this.#movingSinceMs = sharedNowMs();
    try {
      return await work(this.signal);
    } finally {
      this.#movingSinceMs = Infinity;
    }
  }

  /** Take all torque away; does nothing in a dry run. @throws {Error} Some servos may have torque. */
  async letGo(): Promise<void> {
    if (this.arms.isDryRun) return;
    this.signal.throwIfAborted();
    this.#state = "may hold in part: run `deno task robot check`";
    await this.arms.letGo();
    this.#state = "have no torque";
  }

  /**
   * How the stop went.
   *
   * @returns Null when there was none.
   */
  async stopReport(): Promise<StopReport | null> {
    if (Number.isNaN(this.#stopMs)) return null;
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const moved = ARM_NAMES.map((arm) => this.arms.buses[arm].counters().lastMovedMs);
    return { lastMotionMs: Math.max(0, Math.max(...moved) - this.#stopMs) };
  }

  /** Hand on the records that there are; it is done by itself now and then. */
  takeRecords(): void {
    const { onRecord = () => {} } = this.#options;
    this.arms.motion.takeRecords(onRecord);
  }

  /** Close the threads; servos keep what torque they have, their watchdogs are off. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.arms.motionStands();
    } finally {
      clearInterval(this.#timer);
      await this.arms[Symbol.asyncDispose]();
    }
  }

  #stop(): void {
    this.#stopMs = sharedNowMs();
    this.arms.latch.set("hold");
  }

  #onBusEvent(arm: ArmName, event: BusEvent): void {
    if (event.kind === "lost") {
      this.#trouble.abort(new Error(`The ${arm} arm is lost: ${event.sentence}`));
    } else if (event.kind === "silent" && this.#movingSinceMs !== Infinity) {
      const ids = event.ids.join(", ");
      this.#trouble.abort(
        new Error(`No answer from servo ${ids} of the ${arm} arm: check its cable and its power`),
      );
    }
  }

  #pump(): void {
    const { motion, buses } = this.arms;
    motion.alive();
    this.takeRecords();
    if (this.#movingSinceMs === Infinity || this.signal.aborted) return;
    const status = motion.status();
    if (FAULT_HOLDS.includes(status.hold)) {
      return this.#trouble.abort(new Error(`The arms have stopped: ${describeHold(status)}`));
    }
    if (sharedNowMs() - this.#movingSinceMs < HEALTH_ROUND_MS) return;
    for (const arm of ARM_NAMES) {
      const faulty = buses[arm].readHealth()?.servos.find((servo) => servo.hardwareError > 0);
      if (faulty === undefined) continue;
      this.#trouble.abort(new Error(faultSentence(arm, faulty.id, faulty.hardwareError)));
    }
  }
}
