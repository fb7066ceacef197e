/**
 * What a bus's thread does, turn by turn: a cycle at its deadline, then calls and health until the next;
 * only calls while it is idle; and opening the port again while it is gone.
 *
 * @module
 */

import { StopLatch } from "../../safety/stop_latch.ts";
import { sharedNowMs } from "../../threads/clock.ts";
import { BusError, type DynamixelBus } from "../bus.ts";
import { openBus, type OpenBusOptions } from "../open_bus.ts";
import { BusCycle } from "./bus_cycle.ts";
import { SERVO_IDS } from "./bus_memory.ts";
import { CallQueue, type WaitingCall } from "./call_queue.ts";
import { CounterRecord } from "./counter_record.ts";
import { HealthReader } from "./health_reader.ts";
import type { BusEvent, BusMode, BusReply, BusThreadSetup } from "./messages.ts";
import { Schedule } from "./schedule.ts";
import { failureOf, performCall } from "./servo_calls.ts";
import { SilenceWatch } from "./silence_watch.ts";
import { StopGuard } from "./stop_guard.ts";

/** How often messages are looked for while no cycles run, in ms. */
const IDLE_TURN_MS = 5;
/** The same right after a call: whoever awaited it often makes another. */
const BUSY_TURN_MS = 0.5;
/** How long after a call that is, in ms: the answer has to reach another thread and be thought about. */
const BUSY_FOR_MS = 20;
/** Calls between two looks at messages while no cycles run. */
const CALLS_A_TURN = 8;
/** Pauses before the port is opened again, in ms. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;

/** The work of one bus's thread. Owner of the port. */
export class BusLoop implements Disposable {
  /** Why the driver is the one it is. */
  readonly driverReason: string;
  readonly #openOptions: OpenBusOptions;
  readonly #post: (reply: BusReply) => void;
  readonly #counters: CounterRecord;
  readonly #guard: StopGuard;
  readonly #schedule: Schedule;
  readonly #silence: SilenceWatch;
  readonly #cycle: BusCycle;
  readonly #health: HealthReader;
  readonly #calls: CallQueue;
  #bus: DynamixelBus | undefined;
  #mode: BusMode = "idle";
  #missedBefore = 0;
  #retriesBefore = 0;
  #lostSentence = "";
  #pauseMs = FIRST_PAUSE_MS;
  #reopenMs = 0;
  #servedMs = -Infinity;

  /**
   * Open the port.
   *
   * @param setup Port, rate, stop and memory.
   * @param post Takes answers and events.
   * @throws {Error} The port or its driver cannot be opened.
   */
  constructor(setup: BusThreadSetup, post: (reply: BusReply) => void) {
    const { memory, rateHz, epochMs, latch } = setup;
    // ALOHA's servos are set to answer at once; the factory's delay would cost 3.5 ms a cycle.
    const { returnDelayMs = 0 } = setup.openBus;
    this.#openOptions = { ...setup.openBus, returnDelayMs };
    this.#post = post;
    this.#counters = new CounterRecord(memory.counters);
    this.#guard = new StopGuard(new StopLatch(latch), this.#counters);
    this.#schedule = new Schedule(epochMs, 1000 / rateHz);
    const nowMs = sharedNowMs();
    this.#silence = new SilenceWatch(SERVO_IDS, nowMs);
    const [counters, guard, silence] = [this.#counters, this.#guard, this.#silence];
    const { baudRate } = setup.openBus;
    const line = { baudRate, returnDelayMs };
    const periodMs = 1000 / rateHz;
    this.#cycle = new BusCycle({ memory, periodMs, ...line, counters, guard, silence });
    this.#health = new HealthReader({ memory: memory.health, ...line, silence }, nowMs);
    this.#calls = new CallQueue({
      now: sharedNowMs,
      perform: (call) => this.#perform(call),
      reject: (call, failure) => post({ kind: "failed", call, failure }),
    });
    const { bus, reason } = openBus(this.#openOptions);
    this.#bus = bus;
    this.driverReason = reason;
  }

  /**
   * One turn. Blocks until the next deadline at most.
   *
   * @param letMessagesIn Lets the event loop turn once.
   */
  async turn(letMessagesIn: () => Promise<void>): Promise<void> {
    try {
      const bus = this.#bus;
      if (bus === undefined) this.#reopen();
      else if (this.#mode === "idle") this.#idle(bus);
      else this.#runCycle(bus);
    } catch (error) {
      this.#loseOrThrow(error);
    }
    // Messages come in right after a cycle, when there is most time for what they ask.
    await letMessagesIn();
    try {
      if (this.#bus !== undefined && this.#mode !== "idle") this.#useSpareTime(this.#bus);
    } catch (error) {
      this.#loseOrThrow(error);
    }
  }

  /** Take a call; it is answered in a later turn. @param call The call. */
  call(call: WaitingCall): void {
    if (this.#bus !== undefined) return this.#calls.push(call);
    const { call: number, request } = call;
    const message =
      `Cannot ${request.kind} servo ${request.id} on ${this.#openOptions.port}: ${this.#lostSentence}`;
    this.#post({ kind: "failed", call: number, failure: { message, fault: "device" } });
  }

  /**
   * Change what the cycles do. Driving anew writes nothing before the next setpoint.
   *
   * @param mode What they shall do.
   * @throws {BusError} The port is gone, or an emergency stop with torque off is in force.
   */
  setMode(mode: BusMode): void {
    const { port } = this.#openOptions;
    if (this.#bus === undefined) {
      throw new BusError(`Cannot ${mode} ${port}: ${this.#lostSentence}`, "device");
    }
    if (mode === "drive" && this.#guard.look() === "torque-off") {
      throw new BusError(
        `Cannot drive ${port}: an emergency stop (torque-off) is in force; release it first`,
        "refused",
      );
    }
    if (mode === "drive" && this.#mode !== "drive") this.#cycle.forgetGoals();
    if (this.#mode === "idle" && mode !== "idle") {
      this.#schedule.start(sharedNowMs());
      this.#silence.resume(sharedNowMs());
    }
    this.#mode = mode;
  }

  /** All counters back to 0. */
  resetCounters(): void {
    this.#missedBefore = this.#schedule.missed;
    this.#retriesBefore = this.#bus?.retryCount ?? 0;
    this.#counters.reset();
  }

  /** Close the port; the servos stay as they are. */
  [Symbol.dispose](): void {
    const { port } = this.#openOptions;
    this.#calls.rejectAll({ message: `The thread of ${port} has been closed`, fault: "device" });
    this.#bus?.[Symbol.dispose]();
    this.#bus = undefined;
  }

  #runCycle(bus: DynamixelBus): void {
    while (sharedNowMs() < this.#schedule.dueMs) {
      if (this.#guard.sleepUntil(this.#schedule.dueMs)) this.#obeyStop(bus);
    }
    const { dueMs } = this.#schedule;
    const lateMs = this.#schedule.begin(sharedNowMs());
    if (lateMs !== undefined) {
      this.#counters.addJitter(lateMs);
      const stop = this.#cycle.run(bus, this.#mode, dueMs);
      if (stop === "torque-off") this.#leaveDrive();
      this.#schedule.end(sharedNowMs());
      this.#health.noticeAlerts(this.#cycle.alerts);
    }
    this.#publish();
  }

  #useSpareTime(bus: DynamixelBus): void {
    this.#calls.serve(this.#schedule.dueMs);
    this.#health.read(bus, this.#schedule.dueMs, this.#cycle.hasStragglers);
    this.#tellOfSilence();
  }

  #idle(bus: DynamixelBus): void {
    this.#obeyStop(bus);
    const hasServed = this.#calls.serve(Infinity, CALLS_A_TURN) > 0;
    this.#publish();
    const nowMs = sharedNowMs();
    if (hasServed) this.#servedMs = nowMs;
    const isBusy = nowMs - this.#servedMs < BUSY_FOR_MS;
    this.#guard.sleepUntil(nowMs + (isBusy ? BUSY_TURN_MS : IDLE_TURN_MS));
    this.#obeyStop(bus);
  }

  /** Cuts torque at once where the stop wants that; a stop that holds needs no more than to be seen. */
  #obeyStop(bus: DynamixelBus): void {
    if (this.#guard.enforce(bus) === "torque-off") this.#leaveDrive();
  }

  #leaveDrive(): void {
    if (this.#mode !== "drive") return;
    this.#mode = "monitor";
    this.#tell({ kind: "mode", mode: "monitor" });
  }

  #perform({ call, request }: WaitingCall): boolean {
    const bus = this.#bus!; // calls are served while there is a bus only
    try {
      // Calls may follow each other for long: the emergency stop does not wait for them to end.
      this.#obeyStop(bus);
      const value = performCall(bus, request, this.#guard.seen);
      this.#post({ kind: "done", call, value });
      return true;
    } catch (error) {
      this.#post({ kind: "failed", call, failure: failureOf(error) });
      if (error instanceof BusError && error.fault === "device") throw error;
      return false;
    }
  }

  #loseOrThrow(error: unknown): void {
    // Servos' faults have been dealt with: what comes here is the port's, be it gone or stuck.
    if (!(error instanceof BusError)) throw error;
    try {
      this.#bus?.[Symbol.dispose]();
    } catch {
      // What is gone cannot be closed properly.
    }
    this.#bus = undefined;
    this.#mode = "idle";
    this.#lostSentence = error.message;
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#reopenMs = sharedNowMs() + this.#pauseMs;
    this.#calls.rejectAll({ message: error.message, fault: "device" });
    this.#tell({ kind: "lost", sentence: error.message, isFinal: false });
  }

  #reopen(): void {
    this.#guard.look();
    this.#guard.sleepUntil(Math.min(this.#reopenMs, sharedNowMs() + IDLE_TURN_MS));
    if (sharedNowMs() < this.#reopenMs) return;
    try {
      this.#bus = openBus(this.#openOptions).bus;
    } catch (error) {
      // Whatever the reason is, only trying again can bring the bus back.
      this.#lostSentence = failureOf(error).message;
      this.#pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * this.#pauseMs);
      this.#reopenMs = sharedNowMs() + this.#pauseMs;
      return;
    }
    this.#retriesBefore = 0;
    this.#counters.add("reconnects");
    this.#publish();
    const sentence = `${this.#openOptions.port} is open again; its servos have to be checked`;
    this.#tell({ kind: "back", sentence });
  }

  #publish(): void {
    const retries = this.#bus?.retryCount ?? this.#retriesBefore;
    this.#counters.add("retries", retries - this.#retriesBefore);
    this.#retriesBefore = retries;
    this.#counters.set("missed", this.#schedule.missed - this.#missedBefore);
    this.#counters.publish();
  }

  #tellOfSilence(): void {
    const { silent, heard } = this.#silence.takeChanges();
    if (silent.length > 0) this.#tell({ kind: "silent", ids: silent });
    if (heard.length > 0) this.#tell({ kind: "heard", ids: heard });
  }

  #tell(event: BusEvent): void {
    this.#post({ kind: "event", event });
  }
}
