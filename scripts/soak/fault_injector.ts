/**
 * Does a fault to emulated arms, plays the person where one is needed, and waits until the robot runs.
 *
 * @module
 */

import { ARM_NAMES } from "../../common/robot/aloha.ts";
import { HARDWARE_ERROR } from "../../controller/dynamixel/protocol/status_error.ts";
import { sharedNowMs } from "../../controller/threads/clock.ts";
import { namesFault, type PlannedFault } from "./fault_plan.ts";
import type { LogLine, LogWatch } from "./log_watch.ts";
import type { PolicyRun } from "./policy_run.ts";

/** What became of a fault. */
export interface FaultOutcome {
  /** The fault. */
  readonly fault: PlannedFault;
  /** The first line of the log that names it; null if none did. */
  readonly named: LogLine | null;
  /** From the fault to that line, in ms; null if none came. */
  readonly namedMs: number | null;
  /** From the fault until the robot ran again, 0 if it never stopped, in ms; null if it does not. */
  readonly resumedMs: number | null;
  /** What a person had to do, in order. */
  readonly operator: readonly string[];
}

/** Longest wait for an episode before a fault, in ms. */
const EPISODE_MS = 120_000;
/** Time after a fault has gone in which the robot may notice it: health is read once a second. */
const NOTICE_MS = 3_000;
/** Longest wait until the robot runs again, in ms. */
const RESUME_MS = 90_000;
/** Pause after something a person did, in ms: nobody presses faster. */
const PERSON_MS = 500;
/** Time between two looks at something, in ms. */
const PERIOD_MS = 5;
/** Far above every limit, and well below what is still warm, in °C. */
const HOT_C = 90;
const COOL_C = 30;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Does faults, one after the other. */
export class FaultInjector {
  readonly #run: PolicyRun;
  readonly #log: LogWatch;

  /** Nothing is broken yet. @param run The controller. @param log What it says. */
  constructor(run: PolicyRun, log: LogWatch) {
    this.#run = run;
    this.#log = log;
  }

  /**
   * Do a fault in the middle of an episode, and wait until the robot runs again.
   *
   * @param fault The fault.
   * @returns What became of it.
   * @throws {Error} The controller has failed.
   */
  async inject(fault: PlannedFault): Promise<FaultOutcome> {
    const run = this.#run;
    await run.until("episode before a fault", () => run.isRunning, EPISODE_MS);
    const before = this.#interruptions();
    const startMs = sharedNowMs();
    await this.#do(fault);
    const isInterrupted = () => this.#interruptions() > before;
    const noticeMs = sharedNowMs() + NOTICE_MS;
    await run.until(
      "reaction to a fault",
      () => isInterrupted() || sharedNowMs() > noticeMs,
      2 * NOTICE_MS,
    );
    const operator: string[] = [];
    let resumedMs: number | null = 0;
    if (isInterrupted()) {
      const hasResumed = await this.#attend(operator);
      resumedMs = hasResumed ? sharedNowMs() - startMs : null;
    }
    const named = this.#log.firstTrouble(startMs, (line) => namesFault(fault, line));
    const namedMs = named === null ? null : named.timeMs - startMs;
    return { fault, named, namedMs, resumedMs, operator };
  }

  #interruptions(): number {
    return (this.#run.source.status() as { interruptions: number }).interruptions;
  }

  /** Do it; returns when it has gone again, or a person would act. */
  async #do({ kind, arm, servo: id, camera, lastsMs }: PlannedFault): Promise<void> {
    const run = this.#run;
    const bus = ARM_NAMES.indexOf(arm);
    const emulator = run.robot.arms.emulator!;
    switch (kind) {
      case "servo vanishes":
      case "servo loses power":
        await emulator.command(bus, { kind: "vanish", id });
        await sleep(lastsMs);
        await emulator.command(bus, {
          kind: "bringBack",
          id,
          hasLostPower: kind === "servo loses power",
        });
        return;
      case "bus unplugged":
        await emulator.command(bus, { kind: "unplug" });
        await sleep(lastsMs);
        await emulator.command(bus, { kind: "plug" });
        return;
      case "camera dies": {
        // A new ffmpeg comes at once: it has to be killed as often as it comes.
        const endMs = sharedNowMs() + lastsMs;
        for (let killed: number | null = null; sharedNowMs() < endMs; await sleep(PERIOD_MS)) {
          const pid = run.source.cameras?.report().find(({ name }) => name === camera)?.pid ?? null;
          if (pid !== null && pid !== killed) killOff(pid);
          killed = pid;
        }
        return;
      }
      case "overload": {
        const bits = HARDWARE_ERROR.overload;
        await emulator.command(bus, { kind: "hardwareError", id, bits });
        return await sleep(lastsMs);
      }
      case "overheating":
        await emulator.command(bus, { kind: "temperature", id, temperatureC: HOT_C });
        await sleep(lastsMs);
        await emulator.command(bus, { kind: "temperature", id, temperatureC: COOL_C });
        return;
      case "emergency stop":
        await run.post("/estop");
        return await sleep(lastsMs);
      default:
        kind satisfies never;
    }
  }

  /** Be the person until the robot runs. False: it does not. */
  async #attend(done: string[]): Promise<boolean> {
    const run = this.#run;
    const { supervisor, operator } = run.robot;
    const endMs = sharedNowMs() + RESUME_MS;
    const say = async (path: string) => {
      const { isDone } = await run.post(path);
      if (isDone) done.push(path.slice(1));
      await sleep(PERSON_MS);
    };
    while (!run.isRunning) {
      if (sharedNowMs() > endMs) return false;
      const { state } = supervisor.status;
      if (state === "faulted") await say("/recover");
      else if (state === "stopped") await say("/release");
      else if (operator.isStartAwaited) await say("/start");
      else await run.until("anything", () => true, EPISODE_MS);
      await sleep(PERIOD_MS);
    }
    return true;
  }
}

function killOff(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // It has just ended by itself.
  }
}
