/**
 * Arms whose buses are open and idle: for looking at servos and setting single ones, without the thread
 * that moves them. One arm may be missing.
 *
 * @module
 */

import { ARM_NAMES, type ArmName } from "../../common/robot/aloha.ts";
import type { Logger } from "../../common/types.ts";
import type { ArmsSettings } from "../../controller/aloha/flags.ts";
import { BAUD_RATE, startEmulator } from "../../controller/aloha/robot_arms.ts";
import { BusThread } from "../../controller/dynamixel/thread/bus_thread.ts";
import { StopLatch } from "../../controller/safety/stop_latch.ts";
import { sharedNowMs } from "../../controller/threads/clock.ts";

/** Open buses, and what keeps the others shut. Owner of the buses and, if there is one, the emulator. */
export interface IdleArms extends AsyncDisposable {
  /** The arms that could be opened, left first. */
  readonly buses: ReadonlyMap<ArmName, BusThread>;
  /** Why another one could not. */
  readonly missing: ReadonlyMap<ArmName, string>;
}

/** What {@link openIdleArms} is told. */
export interface IdleArmsOptions {
  /** Which arms are wanted; both unless told. */
  readonly arms?: readonly ArmName[];
  /** Takes lines for people. */
  readonly logger: Logger;
}

/**
 * Open the buses of arms. No servo is touched.
 *
 * @param settings Which arms, on which ports.
 * @param options Which of them, and who is told.
 * @returns At least one open bus.
 * @throws {Error} None could be opened; the sentence says why.
 */
export async function openIdleArms(
  settings: ArmsSettings,
  { arms = ARM_NAMES, logger }: IdleArmsOptions,
): Promise<IdleArms> {
  await using stack = new AsyncDisposableStack();
  const emulator = settings.kind === "emulated" ? await startEmulator(undefined, stack) : null;
  const buses = new Map<ArmName, BusThread>();
  const missing = new Map<ArmName, string>();
  for (const arm of arms) {
    try {
      const bus = await BusThread.open({
        name: `${arm} arm`,
        openBus: {
          port: emulator?.ports[ARM_NAMES.indexOf(arm)] ?? settings.ports[arm],
          baudRate: BAUD_RATE,
          driver: settings.driver,
          library: settings.library,
          libraryVariable: settings.libraryVariable,
        },
        rateHz: settings.rateHz,
        epochMs: sharedNowMs(),
        latch: new StopLatch().memory,
        logger,
      });
      buses.set(arm, stack.use(bus));
    } catch (error) {
      missing.set(arm, error instanceof Error ? error.message : String(error));
    }
  }
  if (buses.size === 0) {
    throw new Error(`No arm can be opened: ${[...new Set(missing.values())].join("; ")}`);
  }
  const owned = stack.move();
  return { buses, missing, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/**
 * A sentence about arms that could not be opened.
 *
 * @param missing From {@link IdleArms}.
 * @returns A clause; empty when none is missing.
 */
export function describeMissing(missing: IdleArms["missing"]): string {
  return [...missing].map(([arm, why]) => `the ${arm} arm is missing: ${why}`).join("; ");
}
