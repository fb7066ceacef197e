/**
 * Owns the state machine of a real robot: hears of everything that happens to it, and does what the
 * machine requires.
 *
 * Holding and stopping happen at once, in the call that reports an event. What takes time (looking at
 * the arms, switching torque on, homing) runs as one task after the other; a task whose purpose is gone
 * is ended before the next begins, and a task that fails is a fault.
 *
 * @module
 */

import { ARM_NAMES, type ArmName } from "../../common/robot/aloha.ts";
import type { Logger } from "../../common/types.ts";
import { armTable } from "../arms/arm_check.ts";
import { homePose } from "../arms/poses.ts";
import { faultSentence, servoLabel } from "../arms/servo_faults.ts";
import { BusError } from "../dynamixel/bus.ts";
import type { BusEvent } from "../dynamixel/thread/messages.ts";
import type { HoldReason } from "../motion/motion_memory.ts";
import { describeHold } from "../motion/motion_status.ts";
import type { EmergencyStop } from "../safety/emergency_stop.ts";
import {
  INITIAL_STATUS,
  type MachineStatus,
  react,
  type Reaction,
  type RequiredAction,
  type RobotEvent,
  type RobotState,
} from "../safety/state_machine.ts";
import type { EventKind } from "../step_log/layout.ts";
import type { RobotArms } from "./robot_arms.ts";

/** What a {@link Supervisor} works with. */
export interface SupervisorOptions {
  /** The arms; whoever made them disposes of them, after the supervisor. */
  readonly arms: RobotArms;
  /** The emergency stop. */
  readonly stop: EmergencyStop;
  /** A person must say start before the arms move at all. */
  readonly needsStart: boolean;
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Takes the same for the step log. */
  readonly record: (kind: EventKind, text: string) => void;
}

/** Pause before arms that do not answer after a reconnection are looked at again, in ms. */
const RECHECK_MS = 1_000;
/** Every servo's health is read within this time, in ms. */
const HEALTH_ROUND_MS = 1_500;
/** Motion thread's reasons to hold that end an episode as a fault: a person must look. */
const FAULT_HOLDS: readonly HoldReason[] = ["over-current", "off track"];

/** The robot's state and what drives it. */
export class Supervisor implements AsyncDisposable {
  readonly #options: SupervisorOptions;
  readonly #watchers = new Set<() => void>();
  readonly #removeStopListener: () => void;
  #status: MachineStatus = INITIAL_STATUS;
  #abort = new AbortController();
  #tasks: Promise<void> = Promise.resolve();
  #isEngaged = false;
  /** Servos are restarted on purpose: their silence is no fault. */
  #isServicing = false;
  #needsStart: boolean;
  #isFirstLook = true;
  #isClosed = false;
  /** When servos were last worked on; readings of their health may be as old as they take turns. */
  #servicedMs = -Infinity;
  /** Faults that have been named since torque was last switched on. */
  readonly #named = new Set<string>();
  readonly #lost = new Set<ArmName>();
  readonly #silent = new Map<ArmName, Set<number>>(ARM_NAMES.map((arm) => [arm, new Set()]));
  readonly #counts = { faults: 0, disconnects: 0, stops: 0, recoveries: 0 };

  /** Take charge of arms. Nothing moves before {@link connect}. */
  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#needsStart = options.needsStart;
    this.#removeStopListener = options.stop.onStop(({ source, reason, mode }) => {
      // The latch first: the bus threads look at it right before every write.
      options.arms.latch.set(mode);
      this.#counts.stops++;
      options.logger.error(`EMERGENCY STOP by ${source}: ${reason}; ${mode}`);
      options.record("stop", `emergency stop by ${source}: ${reason}; ${mode}`);
      this.dispatch({ type: "estop", source });
    });
  }

  /** Where the machine stands. */
  get status(): MachineStatus {
    return this.#status;
  }

  /** Whether a person must say start before the arms move: also after a release and a recovery. */
  get needsStart(): boolean {
    return this.#needsStart;
  }

  /** How often which trouble came since the start. */
  get counts(): Readonly<Record<"faults" | "disconnects" | "stops" | "recoveries", number>> {
    return { ...this.#counts };
  }

  /** A person has said start. */
  started(): void {
    this.#needsStart = false;
  }

  /**
   * Report something that happened. What must stop has been told to by the time this returns.
   *
   * @returns What the machine made of it.
   */
  dispatch(event: RobotEvent): Reaction {
    const { logger, record } = this.#options;
    const before = this.#status;
    const reaction = react(before, event);
    if (!reaction.isAccepted) return reaction;
    this.#status = reaction.status;
    this.#perform(event, reaction.action, before.state);
    if (before.state !== this.#status.state) {
      const why = this.#status.reason === "" ? event.type : this.#status.reason;
      logger.info(`The robot is ${this.#status.state} (${why})`);
      record("state", `${before.state} to ${this.#status.state}: ${why}`);
    }
    for (const wake of [...this.#watchers]) wake();
    return reaction;
  }

  /**
   * Wait for the next change of state, or the end of a task.
   *
   * @param signal Ends the wait by throwing its reason.
   */
  async change(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => reject(signal.reason);
    this.#watchers.add(resolve);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await promise;
    } finally {
      this.#watchers.delete(resolve);
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * The first look at the arms: prints their table and refuses arms that are not fit.
   *
   * @throws {Error} An arm is refused, or a servo or a port is missing; the sentence says which.
   */
  async connect(): Promise<void> {
    this.dispatch({ type: "connected" });
    while (this.#status.state === "disconnected") {
      if (this.#isClosed) throw new Error("The arms were closed while they were looked at");
      await this.change(new AbortController().signal);
    }
    this.#isFirstLook = false;
    if (this.#status.state !== "faulted") return;
    throw new Error(`The arms cannot be driven: ${this.#status.reason}`);
  }

  /** What a bus says. */
  onBusEvent(arm: ArmName, event: BusEvent): void {
    const { record } = this.#options;
    const silent = this.#silent.get(arm)!;
    switch (event.kind) {
      case "lost":
        this.#lost.add(arm);
        silent.clear();
        record("fault", `the ${arm} bus is lost: ${event.sentence}`);
        return this.#disconnected();
      case "back":
        this.#lost.delete(arm);
        record("note", `the ${arm} bus is back: ${event.sentence}`);
        return this.#reconnectIfAllThere();
      case "silent":
        for (const id of event.ids) silent.add(id);
        if (this.#isServicing) return;
        record("fault", `servos ${event.ids.join(", ")} of the ${arm} arm are silent`);
        return this.#disconnected();
      case "heard":
        for (const id of event.ids) silent.delete(id);
        if (!this.#isServicing) {
          record("note", `servos ${event.ids.join(", ")} of ${arm} answer again`);
        }
        return this.#reconnectIfAllThere();
      case "mode":
        this.#isEngaged = false;
        return;
      default:
        event satisfies never;
    }
  }

  /**
   * Look at what the threads have found out. Call it from a timer, every 20 ms or so.
   *
   * A servo that has lost its torque or whose watchdog has expired holds by itself or not at all: the
   * arms are looked at and switched on anew.
   */
  poll(): void {
    if (!this.#isEngaged || this.#isServicing || this.#isClosed) return;
    const { arms } = this.#options;
    const faults = new Map<string, string>();
    const loose: string[] = [];
    const isCurrent = performance.now() - this.#servicedMs > HEALTH_ROUND_MS;
    for (const arm of isCurrent ? ARM_NAMES : []) {
      const health = arms.buses[arm].readHealth();
      for (const { id, hardwareError, watchdog, torque } of health?.servos ?? []) {
        if (hardwareError > 0) {
          faults.set(`${arm} ${id} ${hardwareError}`, faultSentence(arm, id, hardwareError));
        }
        const label = servoLabel(arm, id);
        if (watchdog < 0) loose.push(`${label} has stopped by its watchdog`);
        else if (torque === 0 && !arms.isDryRun) loose.push(`${label} has lost its torque`);
      }
    }
    const motion = arms.motion.status();
    if (FAULT_HOLDS.includes(motion.hold)) {
      faults.set(`${motion.hold} ${motion.blame?.culprit}`, describeHold(motion));
    }
    // One that comes while the robot is faulted already is named, too.
    const fresh = [...faults].filter(([key]) => !this.#named.has(key));
    for (const [key] of fresh) this.#named.add(key);
    if (fresh.length > 0) this.#fault(fresh.map(([, sentence]) => sentence).join("; "));
    if (faults.size > 0) return;
    if (motion.hold === "arm silent") loose.push(describeHold(motion));
    if (loose.length > 0) {
      const sentence = `${loose.join("; ")}: looking at the arms anew`;
      this.#options.record("fault", sentence);
      this.#options.logger.warn(sentence);
      this.#disconnected();
      this.#reconnectIfAllThere();
    } else if (motion.hold === "main thread silent" && this.#status.state === "running") {
      this.#options.logger.warn("The main thread was busy for too long: the arms have held");
      this.dispatch({ type: "hold" });
    }
  }

  /**
   * Release the emergency stop. Nothing moves by it: a person must say start, and then comes homing.
   *
   * @param by Who releases it.
   * @returns Whether one was in force.
   */
  release(by: string): boolean {
    const { stop, arms, record } = this.#options;
    if (!stop.release(by)) return false;
    this.#needsStart = true;
    arms.latch.clear();
    record("stop", `released by ${by}`);
    this.dispatch({ type: "release" });
    return true;
  }

  /**
   * Bring a faulted robot back: restart the servos that have shut down, look at all of them, and let
   * go on what is fit. Nothing moves by it.
   *
   * @returns One sentence about how it went.
   */
  async recover(): Promise<string> {
    if (this.#status.state !== "faulted") {
      return `Cannot recover: the robot is ${this.#status.state}, not faulted`;
    }
    let sentence = "";
    await this.#run(async () => {
      const { arms, logger } = this.#options;
      // The arms' cycles are paused now, and torque may be off.
      this.#isEngaged = false;
      try {
        const { checks, restarted } = await this.#service(() => arms.recover());
        for (const check of checks) logger.info(armTable(check));
        const refused = checks.flatMap((check) => check.isFit ? [] : [check]);
        if (refused.length > 0) {
          sentence = `Cannot recover: ${refused[0].problems[0].sentence}`;
          return;
        }
        this.#needsStart = true;
        this.#counts.recoveries++;
        this.#reconnectAll();
        this.dispatch({ type: "checked" });
        const { isAccepted } = this.dispatch({ type: "recover" });
        const what = restarted.length === 0
          ? "no servo had to be restarted"
          : restarted.join(", ") +
            " restarted";
        sentence = isAccepted
          ? `Recovered: ${what}; support the arms, then say start: they will home`
          : `Cannot recover: the robot is ${this.#status.state}`;
      } catch (error) {
        const message = messageOf(error);
        sentence = message.startsWith("Cannot recover") ? message : `Cannot recover: ${message}`;
      }
    });
    this.#options.logger.info(sentence);
    this.#options.record("note", sentence);
    return sentence;
  }

  /** End all tasks; the arms hold, and nothing that still happens to them begins another. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#removeStopListener();
    this.#options.arms.motion.hold();
    this.dispatch({ type: "shutdown" });
    this.#abort.abort(new Error("The supervisor has been closed"));
    await this.#tasks;
  }

  #fault(reason: string): void {
    this.#counts.faults++;
    this.#options.logger.error(`FAULT: ${reason}`);
    this.#options.record("fault", reason);
    this.dispatch({ type: "fault", reason });
  }

  #disconnected(): void {
    if (this.#status.isConnected) this.#counts.disconnects++;
    this.dispatch({ type: "disconnect" });
  }

  /** Forget which servos were silent: a look at the arms finds out, where no cycles do. */
  #reconnectAll(): void {
    for (const ids of this.#silent.values()) ids.clear();
    this.#reconnectIfAllThere();
  }

  #reconnectIfAllThere(): void {
    if (this.#isClosed || this.#status.isConnected || this.#lost.size > 0) return;
    if ([...this.#silent.values()].some((ids) => ids.size > 0)) return;
    this.dispatch({ type: "connected" });
  }

  #perform(event: RobotEvent, action: RequiredAction, before: RobotState): void {
    const { motion } = this.#options.arms;
    const { state } = this.#status;
    // What is under way serves a purpose that these take away.
    if (["fault", "estop", "disconnect", "shutdown"].includes(event.type)) {
      motion.hold();
      this.#isEngaged &&= event.type === "fault";
      this.#abort.abort(new Error(`The robot is ${state}`));
    }
    // The way home would end far from it, and count as arms that do not arrive.
    if (event.type === "hold" && before === "homing") {
      this.#abort.abort(new Error("The robot was told to hold"));
    }
    switch (action) {
      case "none":
        return;
      case "check the arms":
        return this.#start((signal) => this.#check(signal));
      case "move home":
        return this.#start((signal) => this.#home(signal));
      case "execute the policy":
        return motion.resume();
      case "hold the pose":
        motion.hold();
        if (!this.#isEngaged || event.type === "recover") {
          this.#start((signal) => this.#engage(signal));
        }
        return;
      case "stop all motion":
      case "hold and reconnect":
      case "close the buses":
        return motion.hold();
      default:
        action satisfies never;
    }
  }

  /** Look at the arms until they answer; a person must see to what is found wrong with them. */
  async #check(signal: AbortSignal): Promise<void> {
    const { arms, logger } = this.#options;
    for (let hasSaid = false;; hasSaid = true) {
      signal.throwIfAborted();
      const checks = await arms.check();
      if (this.#isFirstLook) { for (const check of checks) logger.info(armTable(check)); }
      const isComplete = checks.every(({ rows }) => rows.every(({ values }) => values !== null));
      const refusals = checks.flatMap(({ problems }) =>
        problems.filter(({ severity }) => severity === "refuse").map(({ sentence }) => sentence)
      );
      if (isComplete || this.#isFirstLook) {
        if (refusals.length > 0) throw new Error(refusals.join("; "));
        signal.throwIfAborted();
        this.dispatch({ type: "checked" });
        return;
      }
      if (!hasSaid) logger.warn(`Waiting for servos: ${refusals[0]}`);
      await pause(RECHECK_MS, signal);
    }
  }

  async #engage(signal: AbortSignal): Promise<void> {
    await this.#service(() => this.#options.arms.engage(signal));
    this.#named.clear();
    this.#isEngaged = true;
  }

  async #home(signal: AbortSignal): Promise<void> {
    // Torque may not be on yet: homing is often asked for the moment the arms are ready.
    if (!this.#isEngaged) await this.#engage(signal);
    await this.#service(() => this.#options.arms.restartGrippers(signal));
    await this.#options.arms.moveTo(homePose(1), signal);
    signal.throwIfAborted();
    this.dispatch({ type: "homed" });
  }

  async #service<T>(work: () => Promise<T>): Promise<T> {
    this.#isServicing = true;
    try {
      return await work();
    } finally {
      this.#isServicing = false;
      this.#servicedMs = performance.now();
    }
  }

  /** Do something after what is under way; its failure is a fault, unless its purpose is gone. */
  #start(work: (signal: AbortSignal) => Promise<void>): void {
    if (this.#isClosed) return;
    const signal = this.#freshSignal();
    void this.#run(async () => {
      if (signal.aborted) return;
      try {
        await work(signal);
      } catch (error) {
        if (!signal.aborted) await this.#failed(error);
      }
    });
  }

  /** A signal that has not been aborted yet. */
  #freshSignal(): AbortSignal {
    if (this.#abort.signal.aborted) this.#abort = new AbortController();
    return this.#abort.signal;
  }

  /** A task has failed: servos and ports that are away may come back, anything else is a fault. */
  async #failed(error: unknown): Promise<void> {
    const isAway = (error instanceof BusError && error.fault !== "refused") ||
      [...this.#silent.values()].some((ids) => ids.size > 0);
    if (this.#isFirstLook || !isAway) return this.#fault(messageOf(error));
    this.#options.logger.warn(`${messageOf(error)}; trying again until it answers`);
    this.#options.record("fault", messageOf(error));
    this.#disconnected();
    const signal = this.#freshSignal();
    await pause(RECHECK_MS, signal);
    this.#reconnectAll();
  }

  #run(work: () => Promise<void>): Promise<void> {
    this.#tasks = this.#tasks.then(work).then(() => {
      for (const wake of [...this.#watchers]) wake();
    });
    return this.#tasks;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Wait so long, or until the signal is aborted. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const onAbort = () => resolve();
  signal.addEventListener("abort", onAbort, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", onAbort);
}
