/**
 * What the tests of the arms share: an emulated arm, and access to its servos by a real driver.
 *
 * @module
 */

import type { DynamixelBus, PingReply } from "../dynamixel/bus.ts";
import type { ControlItemName } from "../dynamixel/control_table.ts";
import { EmulatorHost } from "../dynamixel/emulator/emulator_host.ts";
import type { EmulatorCommand } from "../dynamixel/emulator/emulator_messages.ts";
import type { ServoOptions } from "../dynamixel/emulator/servo.ts";
import { viperXServos } from "../dynamixel/emulator/viperx_arm.ts";
import { openBus } from "../dynamixel/open_bus.ts";
import type { CallValue, ServoCall } from "../dynamixel/thread/messages.ts";
import { performCall } from "../dynamixel/thread/servo_calls.ts";
import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";

/** Single servos of a bus in the same thread. */
export class BusAccess implements ServoAccess {
  readonly #bus: DynamixelBus;
  /** Every write so far, oldest first, as `id item value`. */
  readonly writes: string[] = [];

  /** Access to a bus, which stays the caller's. */
  constructor(bus: DynamixelBus) {
    this.#bus = bus;
  }

  /** The device. */
  get port(): string {
    return this.#bus.port;
  }

  /** Ask a servo who it is. */
  async ping(id: number): Promise<PingReply> {
    return await this.#perform({ kind: "ping", id }) as PingReply;
  }

  /** Value of an item. */
  async read(id: number, item: ControlItemName): Promise<number> {
    return await this.#perform({ kind: "read", id, item }) as number;
  }

  /** Write an item. */
  async write(id: number, item: ControlItemName, value: number): Promise<void> {
    this.writes.push(`${id} ${item} ${value}`);
    await this.#perform({ kind: "write", id, item, value });
  }

  /** Restart a servo. */
  async reboot(id: number): Promise<void> {
    this.writes.push(`${id} reboot`);
    await this.#perform({ kind: "reboot", id });
  }

  /** As the bus's thread does it, without the thread. */
  #perform(call: ServoCall): Promise<CallValue> {
    return Promise.try(() => performCall(this.#bus, call, null));
  }
}

/** An emulated arm at rest, and a driver on its bus. */
export class EmulatedArm implements AsyncDisposable {
  /** Its servos, through the embedded driver. */
  readonly servos: BusAccess;
  readonly #host: EmulatorHost;
  readonly #bus: DynamixelBus;

  private constructor(host: EmulatorHost, bus: DynamixelBus) {
    this.#host = host;
    this.#bus = bus;
    this.servos = new BusAccess(bus);
  }

  /**
   * Start one.
   *
   * @param servos Its servos; a ViperX 300 as it must be unless told.
   * @returns The arm, to be disposed of.
   */
  static async start(servos: readonly ServoOptions[] = viperXServos()): Promise<EmulatedArm> {
    const host = await EmulatorHost.start([{ servos }]);
    const settings = { port: host.ports[0], baudRate: 1_000_000, driver: "builtin" } as const;
    // The machine may be busy: an answer may take its time.
    const { bus } = openBus({ ...settings, latencyMs: 60 });
    return new EmulatedArm(host, bus);
  }

  /** Do something to it. */
  command(command: EmulatorCommand): Promise<number | string | undefined> {
    return this.#host.command(0, command);
  }

  /** Set an item past the servo's rules. */
  async set(id: number, item: ControlItemName, value: number): Promise<void> {
    await this.command({ kind: "set", id, item, value });
  }

  /** Value of an item, past the bus. */
  async get(id: number, item: ControlItemName): Promise<number> {
    return Number(await this.command({ kind: "get", id, item }));
  }

  /** Let time leap forward for the servos. */
  async advance(ms: number): Promise<void> {
    await this.command({ kind: "advance", ms });
  }

  /** What the caller of a restart gives it: sleeping makes time leap, for the servos alone. */
  get sleep(): (ms: number) => Promise<void> {
    return (ms) => this.advance(ms);
  }

  /** Close the port and end the emulator. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#bus[Symbol.dispose]();
    await this.#host[Symbol.asyncDispose]();
  }
}

/**
 * A servo with other settings than it must have.
 *
 * @param id The servo, 1–9.
 * @param settings What differs.
 * @param options Model or pose, where they differ.
 * @returns Servos of a whole arm.
 */
export function armWith(
  id: number,
  settings: ServoOptions["settings"],
  options: Partial<ServoOptions> = {},
): ServoOptions[] {
  return viperXServos().map((servo) =>
    servo.settings?.id === id
      ? { ...servo, ...options, settings: { ...servo.settings, ...settings } }
      : servo
  );
}
