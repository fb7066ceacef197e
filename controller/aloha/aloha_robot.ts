/**
 * A whole robot with two arms: threads, state machine, emergency stop, operator, world, step log.
 *
 * One timer of the main thread joins the parts: it shows the motion thread that somebody who hears an
 * emergency stop is awake, takes the records of what the arms did and hands them on, and looks for
 * trouble. When the main thread is busy for too long, the motion thread holds by itself.
 *
 * @module
 */

import type { RouteHandler } from "../../common/http/status_app.ts";
import type { Logger } from "../../common/types.ts";
import type { BusEvent } from "../dynamixel/thread/messages.ts";
import { EmergencyStop, HeartbeatWatch, type StopMode } from "../safety/emergency_stop.ts";
import { hashLimits } from "../step_log/header.ts";
import { JerkMeter } from "../step_log/jerk.ts";
import type { EventKind } from "../step_log/layout.ts";
import { StepLogWriter } from "../step_log/writer.ts";
import { sharedNowMs } from "../threads/clock.ts";
import type { ArmsSettings } from "./flags.ts";
import { Operator } from "./operator/operator.ts";
import { robotCommands } from "./robot_api.ts";
import { RobotArms } from "./robot_arms.ts";
import { Supervisor } from "./supervisor.ts";

/** What {@link AlohaRobot.open} is told. */
export interface AlohaRobotOptions {
  /** Which arms, on which ports, within which limits. */
  readonly settings: ArmsSettings;
  /** What an emergency stop does. */
  readonly stopMode: StopMode;
  /** Silence of the operator after which the arms stop, in ms; 0 wants no heartbeat. */
  readonly heartbeatTimeoutMs: number;
  /** A person must say start before the arms move. */
  readonly needsStart: boolean;
  /** Folder of the step log; empty writes none. */
  readonly stepLog: string;
  /** Name of the task and its words, for the log. */
  readonly task: { readonly name: string; readonly prompt: string };
  /** Where emulated arms stand at first `[14]`; see `RobotArmsOptions.startPose`. */
  readonly startPose?: Float32Array;
  /** Takes lines for people. */
  readonly logger: Logger;
}

/** Pause between two looks at the motion thread's records, in ms. */
const PUMP_MS = 5;
/** Looks between two looks for trouble. */
const PUMPS_A_POLL = 4;
/** Looks between two writings of the step log: what a power cut may take of it is a second. */
const PUMPS_A_FLUSH = 200;

/** An open robot. Nothing moves before {@link AlohaRobot.connect}. */
export class AlohaRobot implements AsyncDisposable {
  /** The arms. */
  readonly arms: RobotArms;
  /** Their state. */
  readonly supervisor: Supervisor;
  /** The emergency stop. */
  readonly stop: EmergencyStop;
  /** The person. */
  readonly operator: Operator;
  /** The watch over their heart; null when none is wanted. */
  readonly heartbeat: HeartbeatWatch | null;
  /** The log of every cycle; null when none is written. */
  readonly log: StepLogWriter | null;
  /** POST routes of the status page. */
  readonly commands: Readonly<Record<string, RouteHandler>>;
  /** Called with every record of the motion thread; not to be kept. */
  onRecord: (record: Float64Array) => void = () => {};
  /** Called about every 20 ms. */
  onPoll: () => void = () => {};
  readonly #options: AlohaRobotOptions;
  readonly #jerk: JerkMeter;
  readonly #timer: ReturnType<typeof setInterval>;
  #pumps = 0;
  #hasLogFailed = false;

  private constructor(
    options: AlohaRobotOptions,
    arms: RobotArms,
    log: StepLogWriter | null,
    stop: EmergencyStop,
  ) {
    const { logger, settings, heartbeatTimeoutMs, needsStart } = options;
    this.#options = options;
    this.arms = arms;
    this.log = log;
    this.stop = stop;
    this.#jerk = new JerkMeter(settings.rateHz);
    this.supervisor = new Supervisor({
      arms,
      stop,
      needsStart,
      logger,
      record: (kind, text) => this.record(kind, text),
    });
    this.operator = new Operator({ logger });
    this.operator.onEvent((event) => {
      if (event.kind === "stop") stop.trigger(event.source, event.reason);
      else if (event.kind === "release") this.supervisor.release(event.source);
    });
    this.heartbeat = heartbeatTimeoutMs === 0
      ? null
      : new HeartbeatWatch({ timeoutMs: heartbeatTimeoutMs, now: sharedNowMs, stop });
    this.commands = robotCommands(this);
    this.#timer = setInterval(() => {
      try {
        this.#pump();
      } catch (error) {
        this.#failed(error);
      }
    }, PUMP_MS);
  }

  /**
   * Open the buses and start the threads.
   *
   * @param options Which robot, and how.
   * @returns The robot; say {@link connect} next.
   * @throws {Error} A port, a driver, a thread or the log cannot be opened.
   */
  static async open(options: AlohaRobotOptions): Promise<AlohaRobot> {
    const { settings, stopMode, logger } = options;
    const { loaded: { limits, widenings } } = settings;
    for (const { name, value, defaultValue } of widenings) {
      logger.warn(`The limit ${name} is ${value}, wider than the default ${defaultValue}`);
    }
    await using stack = new AsyncDisposableStack();
    const log = await openLog(options);
    if (log !== null) stack.use(log);
    const stop = new EmergencyStop({ mode: stopMode, now: sharedNowMs, logger });
    // The buses may speak before the supervisor is there.
    let robot: AlohaRobot | null = null;
    const early: (() => void)[] = [];
    const tell = (act: (robot: AlohaRobot) => void) => {
      if (robot === null) early.push(() => act(robot!));
      else act(robot);
    };
    const arms = stack.use(
      await RobotArms.open({
        ...settings,
        limits,
        startPose: options.startPose,
        logger,
        onBusEvent: (arm, event: BusEvent) =>
          tell(({ supervisor }) => supervisor.onBusEvent(arm, event)),
        onMotionFailure: (sentence) => tell(({ stop }) => stop.trigger("motion thread", sentence)),
      }),
    );
    robot = new AlohaRobot(options, arms, log, stop);
    for (const act of early) act();
    stack.move();
    return robot;
  }

  /** Look at the arms and make them hold. @throws {Error} They are not fit; the sentence says why. */
  async connect(): Promise<void> {
    await this.supervisor.connect();
  }

  /** Write a line into the step log, if there is one. */
  record(kind: EventKind, text: string): void {
    this.log?.event(kind, text);
  }

  /** What `/status` shows of the robot. */
  status(): object {
    const { arms, supervisor, stop } = this;
    const { settings: { kind, rateHz, loaded, isDryRun } } = this.#options;
    const motion = arms.motion.status();
    const bus = (name: "left" | "right") => {
      const thread = arms.buses[name];
      const { jitter: _, ...counters } = thread.counters();
      return { port: thread.port, mode: thread.mode, ...counters, health: thread.readHealth() };
    };
    return {
      kind,
      ...supervisor.status,
      needsStart: supervisor.needsStart,
      emergencyStop: stop.record,
      heartbeatLost: this.heartbeat?.isLost ?? null,
      isDryRun,
      rateHz,
      hold: motion.hold,
      motion: { cycles: motion.cycles, missed: motion.missed, dropped: motion.droppedRecords },
      command: Array.from(motion.command),
      measured: Array.from(arms.measured()),
      clamps: arms.motion.clamps(),
      widenedLimits: loaded.widenings,
      troubles: supervisor.counts,
      jerk: this.#jerk.report(),
      buses: { left: bus("left"), right: bus("right") },
      stepLog: this.log === null ? null : {
        path: this.log.path,
        cycles: this.log.cycles,
        dropped: this.log.dropped,
        failure: this.log.failure?.message ?? null,
      },
    };
  }

  /** Hold, close the threads and the log. The servos keep their torque. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.supervisor[Symbol.asyncDispose]();
    await this.arms.motionStands();
    clearInterval(this.#timer);
    this.#takeRecords();
    await this.arms[Symbol.asyncDispose]();
    await this.log?.[Symbol.asyncDispose]();
  }

  #pump(): void {
    this.arms.motion.alive();
    this.#takeRecords();
    if (++this.#pumps % PUMPS_A_POLL !== 0) return;
    // A failure shows in `failure`, and is told below.
    if (this.#pumps % PUMPS_A_FLUSH === 0) this.log?.flush().catch(() => {});
    this.heartbeat?.poll();
    this.supervisor.poll();
    this.onPoll();
    const failure = this.log?.failure ?? null;
    if (failure === null || this.#hasLogFailed) return;
    this.#hasLogFailed = true;
    this.#options.logger.error(`The step log is not written any more: ${failure.message}`);
  }

  /** What nobody else hears of must stop the arms, not end the program while they move. */
  #failed(error: unknown): void {
    if (this.stop.isActive) return;
    this.stop.trigger("controller", error instanceof Error ? error.message : String(error));
  }

  #takeRecords(): void {
    this.arms.motion.takeRecords((record) => {
      this.log?.add(record);
      this.#jerk.add(record);
      this.onRecord(record);
    });
  }
}

async function openLog(options: AlohaRobotOptions): Promise<StepLogWriter | null> {
  const { stepLog, settings: { kind, rateHz, loaded }, task } = options;
  if (stepLog === "") return null;
  await Deno.mkdir(stepLog, { recursive: true });
  const startMs = sharedNowMs();
  const name = new Date(startMs).toISOString().replaceAll(":", "-");
  return await StepLogWriter.open(`${stepLog}/${name}.steps`, {
    startMs,
    rateHz,
    robot: kind,
    limitsHash: hashLimits(loaded.limits),
    widenings: loaded.widenings.map((widening) => widening.name),
    task: task.name,
    prompt: task.prompt,
  });
}
