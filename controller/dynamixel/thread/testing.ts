/**
 * What tests of the bus thread share: an emulated arm with its thread.
 *
 * @module
 */

import { sharedNowMs } from "../../threads/clock.ts";
import { StopLatch } from "../../safety/stop_latch.ts";
import type { EmulatedBusSpec } from "../emulator/emulator_messages.ts";
import { EmulatorHost } from "../emulator/emulator_host.ts";
import { viperXServos } from "../emulator/viperx_arm.ts";
import type { OpenBusOptions } from "../open_bus.ts";
import { BusThread } from "./bus_thread.ts";
import type { BusEvent, BusRateHz } from "./messages.ts";

/** Line rate of ALOHA's servos. */
const BAUD_RATE = 1_000_000;
/** What calls allow for: the test machine may be busy. Cycles have an allowance of their own. */
const LATENCY_MS = 60;
/** Longest wait for something to become true; a busy machine may be slow. */
const DEADLINE_MS = 20_000;
/** How often it is looked for. */
const POLL_MS = 2;

/** An emulated arm. */
export interface TestArm extends AsyncDisposable {
  /** Its servos, bus 0. */
  readonly host: EmulatorHost;
  /** Its thread. */
  readonly thread: BusThread;
  /** The emergency stop. */
  readonly latch: StopLatch;
  /** Everything that has happened. */
  readonly events: readonly BusEvent[];
  /** Lines that were logged. */
  readonly lines: readonly string[];
}

/**
 * Start an emulated arm and its thread.
 *
 * @param rateHz Cycles a second.
 * @param bus What differs from a plain arm.
 * @param settings Settings of the driver.
 * @returns The arm, idle, to be disposed of.
 */
export async function startArm(
  rateHz: BusRateHz = 50,
  bus: Partial<EmulatedBusSpec> = {},
  settings: Partial<OpenBusOptions> = {},
): Promise<TestArm> {
  await using opening = new AsyncDisposableStack();
  const host = opening.use(await EmulatorHost.start([{ servos: viperXServos(), ...bus }]));
  const events: BusEvent[] = [];
  const lines: string[] = [];
  const log = (line: string) => void lines.push(line);
  const latch = new StopLatch();
  const thread = opening.use(
    await BusThread.open({
      name: "left arm",
      openBus: {
        port: host.ports[0],
        baudRate: BAUD_RATE,
        driver: "builtin",
        latencyMs: LATENCY_MS,
        ...settings,
      },
      rateHz,
      epochMs: sharedNowMs(),
      latch: latch.memory,
      logger: { info: log, warn: log, error: log },
      onEvent: (event) => events.push(event),
    }),
  );
  const owned = opening.move();
  const dispose = () => owned.disposeAsync();
  return { host, thread, latch, events, lines, [Symbol.asyncDispose]: dispose };
}

/**
 * Wait until something is true.
 *
 * @param isTrue Looks.
 * @param what In words, for the error.
 * @throws {Error} It has not become true in time.
 */
export async function until(isTrue: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (!isTrue()) {
    if (performance.now() > deadline) {
      throw new Error(`Waited ${DEADLINE_MS} ms in vain until ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Wait for so many more cycles. @param thread A thread in mode monitor or drive. @param cycles How many. */
export async function cyclesOf(thread: BusThread, cycles: number): Promise<void> {
  const last = (thread.readState()?.cycle ?? 0) + cycles;
  await until(() => (thread.readState()?.cycle ?? 0) >= last, `cycle ${last} has run`);
}
