/**
 * An emulated bus on a pseudo-terminal: bytes go in as they come, answers go out when they are due.
 *
 * @module
 */

import { seededRandom } from "../../../common/random.ts";
import { ArmWeight } from "./arm_weight.ts";
import { BusEmulator } from "./bus_emulator.ts";
import type { EmulatedBusSpec, EmulatorCommand } from "./emulator_messages.ts";
import type { ScheduledAnswer } from "./faults.ts";
import { PseudoTerminal } from "./pseudo_terminal.ts";
import { Servo } from "./servo.ts";

/** Farthest leap of the clock; a servo goes through it in steps of 1 ms. */
const MAX_LEAP_MS = 10_000;

/** One bus and its device. */
export class ServedBus implements Disposable {
  readonly #bus: BusEmulator;
  readonly #linkPath: string | undefined;
  readonly #positions: Int32Array;
  #terminal: PseudoTerminal | undefined;
  readonly #weight: ArmWeight | undefined;
  #due: ScheduledAnswer[] = [];
  /** What the servos' clock is ahead of the caller's. */
  #leapMs = 0;

  /**
   * Make the servos and open the device.
   *
   * @param spec The bus.
   * @param positions Where the servos' Present_Position is put, one number each.
   * @throws {Error} There is no pseudo-terminal, or the link cannot be made.
   */
  constructor(spec: EmulatedBusSpec, positions: Int32Array) {
    const servos = spec.servos.map((options) => new Servo(options));
    this.#bus = new BusEmulator({ servos, random: seededRandom(spec.seed ?? 0) });
    this.#weight = spec.arm === undefined ? undefined : new ArmWeight(spec.arm, servos);
    this.#linkPath = spec.linkPath;
    this.#positions = positions;
    this.#plug();
  }

  /** The device while it is plugged in. */
  get terminal(): PseudoTerminal | undefined {
    return this.#terminal;
  }

  /** What a driver opens: the link where there is one. */
  get port(): string {
    return this.#linkPath ?? this.#terminal?.path ?? "";
  }

  /** When the next answer is due, in ms; infinite when there is none. */
  get nextDueMs(): number {
    return this.#due.reduce((least, { atMs }) => Math.min(least, atMs - this.#leapMs), Infinity);
  }

  /**
   * Take in what came, send what is due, let the servos move.
   *
   * @param nowMs The time it is.
   */
  serve(nowMs: number): void {
    const servoMs = nowMs + this.#leapMs;
    const received = this.#terminal?.read();
    if (received !== undefined && received.length > 0) {
      this.#due.push(...this.#bus.receive(received, servoMs));
    }
    const due = this.#due.filter(({ atMs }) => atMs <= servoMs);
    if (due.length > 0) {
      this.#due = this.#due.filter(({ atMs }) => atMs > servoMs);
      for (const { bytes } of due) this.#terminal?.write(Uint8Array.from(bytes));
    }
    this.#weight?.apply(servoMs);
    this.#bus.advance(servoMs);
    this.#bus.servos.forEach((servo, i) => {
      Atomics.store(this.#positions, i, servo.get("presentPosition"));
    });
  }

  /**
   * Do something to the bus.
   *
   * @param command What.
   * @param nowMs The time it is.
   * @returns The value of `get`, the device of `plug`, nothing otherwise.
   * @throws {RangeError} There is no such servo, or a value does not fit.
   */
  command(command: EmulatorCommand, nowMs: number): number | string | undefined {
    const bus = this.#bus;
    const servoMs = nowMs + this.#leapMs;
    switch (command.kind) {
      case "faults":
        bus.faults = command.rates;
        return;
      case "vanish":
        bus.vanish(command.id);
        return;
      case "bringBack":
        bus.bringBack(command.id, servoMs, command.hasLostPower);
        return;
      case "unplug":
        this.#unplug();
        return;
      case "plug":
        this.#plug();
        return this.port;
      case "get":
        return bus.servo(command.id).get(command.item);
      case "set":
        bus.servo(command.id).set(command.item, command.value);
        return;
      case "surround":
        bus.servo(command.id).surround(command.change);
        return;
      case "temperature":
        bus.servo(command.id).setTemperatureC(command.temperatureC);
        return;
      case "hardwareError":
        bus.servo(command.id).raiseHardwareError(command.bits);
        return;
      case "advance":
        if (!(command.ms >= 0 && command.ms <= MAX_LEAP_MS)) {
          throw new RangeError(
            `Cannot advance by ${command.ms} ms, expected 0–${MAX_LEAP_MS}; advance several times`,
          );
        }
        this.#leapMs += command.ms;
        bus.advance(servoMs + command.ms);
        return;
      default:
        return command satisfies never;
    }
  }

  /** Close the device and remove the link. */
  [Symbol.dispose](): void {
    this.#unplug();
  }

  #plug(): void {
    if (this.#terminal !== undefined) return;
    const terminal = new PseudoTerminal();
    try {
      if (this.#linkPath !== undefined) Deno.symlinkSync(terminal.path, this.#linkPath);
    } catch (error) {
      terminal[Symbol.dispose]();
      throw new Error(
        `Cannot link ${this.#linkPath} to ${terminal.path}: ${error}; its folder must exist, and a ` +
          "link that an earlier run left behind must be removed",
        { cause: error },
      );
    }
    this.#terminal = terminal;
  }

  #unplug(): void {
    if (this.#terminal === undefined) return;
    if (this.#linkPath !== undefined) Deno.removeSync(this.#linkPath);
    this.#terminal[Symbol.dispose]();
    this.#terminal = undefined;
    this.#due = [];
  }
}
