/**
 * How punctual the threads of two emulated arms are on this machine.
 *
 * @module
 */

import { StopLatch } from "../../safety/stop_latch.ts";
import { sharedNowMs } from "../../threads/clock.ts";
import { EmulatorHost } from "../emulator/emulator_host.ts";
import { viperXServos } from "../emulator/viperx_arm.ts";
import type { OpenBusOptions } from "../open_bus.ts";
import { jitterPercentile } from "./bus_readings.ts";
import { BusThread } from "./bus_thread.ts";
import type { BusRateHz } from "./messages.ts";
import { SetpointWriter } from "./setpoint_writer.ts";

/** Line rate of ALOHA's servos. */
const BAUD_RATE = 1_000_000;
/** Cycles that are not measured: the first ones compile code. */
const WARM_UP_MS = 500;
/** A slow wave of goals around 0 rad, which all joints can follow: ticks and ms. */
const CENTRE_TICKS = 2048;
const SWING_TICKS = 100;
const SWING_MS = 1_000;

/** How much to measure. */
export interface BusBenchOptions {
  /** Cycles a second; default 50. */
  readonly rateHz?: BusRateHz;
  /** Length in seconds; default 5. */
  readonly seconds?: number;
  /** Arms; default 2. */
  readonly arms?: number;
  /** Driver and its settings; default the embedded driver. */
  readonly openBus?: Omit<OpenBusOptions, "port" | "baudRate">;
}

/** What {@link benchBus} measured, all arms together. Times are in ms. */
export interface BusBench {
  /** Cycles that ran. */
  readonly cycles: number;
  /** Deadlines that were missed. */
  readonly missed: number;
  /** Cycles without all answers. */
  readonly incomplete: number;
  /** Answers that were asked for again. */
  readonly retries: number;
  /** Start of a cycle after its deadline: the median, to 0.1 ms upwards like the others. */
  readonly jitterP50Ms: number;
  /** The 99th percentile. */
  readonly jitterP99Ms: number;
  /** The 99.9th percentile. */
  readonly jitterP999Ms: number;
  /** The latest of all. */
  readonly jitterMaxMs: number;
  /** Longest exchange of a cycle. */
  readonly longestExchangeMs: number;
}

/**
 * Drive emulated arms for some seconds. Linux only.
 *
 * @param options How much to measure.
 * @returns Counts and percentiles.
 * @throws {Error} No emulator or driver can be started here.
 */
export async function benchBus(options: BusBenchOptions = {}): Promise<BusBench> {
  const { rateHz = 50, seconds = 5, arms = 2, openBus = { driver: "builtin" } } = options;
  const nothing = () => {};
  await using open = new AsyncDisposableStack();
  const specs = Array.from({ length: arms }, () => ({ servos: viperXServos() }));
  const host = open.use(await EmulatorHost.start(specs));
  const latch = new StopLatch();
  const epochMs = sharedNowMs();
  const threads: BusThread[] = [];
  for (const [i, port] of host.ports.entries()) {
    const thread = await BusThread.open({
      name: `arm ${i}`,
      openBus: { ...openBus, port, baudRate: BAUD_RATE },
      rateHz,
      epochMs,
      latch: latch.memory,
      logger: { info: nothing, warn: nothing, error: nothing },
    });
    threads.push(open.use(thread));
    await thread.setMode("drive");
  }
  const writers = threads.map(({ memory }) => new SetpointWriter(memory));
  await swing(writers, WARM_UP_MS, 1000 / rateHz);
  for (const thread of threads) await thread.resetCounters();
  await swing(writers, 1000 * seconds, 1000 / rateHz);
  return summary(threads);
}

/** Write setpoints of a slow wave for a while, about as often as the buses take them. */
async function swing(
  writers: readonly SetpointWriter[],
  durationMs: number,
  periodMs: number,
): Promise<void> {
  const endMs = sharedNowMs() + durationMs;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setInterval(() => {
    const nowMs = sharedNowMs();
    const phase = (2 * Math.PI * (nowMs % SWING_MS)) / SWING_MS;
    const ticks = CENTRE_TICKS + SWING_TICKS * Math.sin(phase);
    for (const writer of writers) writer.write(ticks);
    if (nowMs >= endMs) resolve();
  }, periodMs);
  await promise;
  clearInterval(timer);
}

function summary(threads: readonly BusThread[]): BusBench {
  const counters = threads.map((thread) => thread.counters());
  const sum = (name: "cycles" | "missed" | "incomplete" | "retries") =>
    counters.reduce((total, counter) => total + counter[name], 0);
  const jitter = counters[0].jitter.map((_, i) =>
    counters.reduce((total, counter) => total + counter.jitter[i], 0)
  );
  return {
    cycles: sum("cycles"),
    missed: sum("missed"),
    incomplete: sum("incomplete"),
    retries: sum("retries"),
    jitterP50Ms: jitterPercentile({ jitter }, 0.5),
    jitterP99Ms: jitterPercentile({ jitter }, 0.99),
    jitterP999Ms: jitterPercentile({ jitter }, 0.999),
    jitterMaxMs: jitterPercentile({ jitter }, 1),
    longestExchangeMs: Math.max(...counters.map(({ longestExchangeMs }) => longestExchangeMs)),
  };
}
