/**
 * Servos on one half-duplex line: bytes go in, answers come out with the time at which they arrive.
 *
 * Pure: it has no clock and no port. A byte takes ten bits (one start, one stop) at the line's rate,
 * whichever way it goes, and the line carries one packet at a time. Answers of a group follow each
 * other in the order of the request; a missing servo leaves a gap that costs no time, but breaks off
 * the joint answer of a fast read, because those behind it cannot tell their checksum.
 *
 * @module
 */

import { type RandomSource, seededRandom } from "../../../common/random.ts";
import { BAUD_RATES } from "../control_table.ts";
import { encodeFastStatus, type FastBlock } from "../protocol/fast_status.ts";
import {
  type BulkItem,
  decodeRequest,
  type DynamixelRequest,
  type InvalidRequest,
} from "../protocol/instructions.ts";
import { BROADCAST_ID, encodeStatus, MAX_LENGTH, PREFIX_BYTES } from "../protocol/packet.ts";
import { InstructionParser } from "../protocol/parser.ts";
import { STATUS_ERROR, type StatusErrorNumber } from "../protocol/status_error.ts";
import { type FaultRates, injectFaults, NO_FAULTS, type ScheduledAnswer } from "./faults.ts";
import type { Servo } from "./servo.ts";

/** What makes up a bus. */
export interface BusEmulatorOptions {
  /** The servos on the line. */
  readonly servos: readonly Servo[];
  /** Line rate in bit/s; servos set to another do not hear. 1,000,000 unless told. */
  readonly baudRate?: number;
  /** Chance for faults; the same seed gives the same ones. */
  readonly random?: RandomSource;
}

/** Start bit, eight bits, stop bit. */
const BITS_PER_BYTE = 10;
/** Silence after which a servo gives up a packet that has not ended. */
const UNFINISHED_PACKET_MS = 10;
/** Unit of Return_Delay_Time. */
const RETURN_DELAY_UNIT_MS = 0.002;
/** First firmware of the X series that takes part in joint answers. */
const FAST_READ_FIRMWARE = 45;
/** What an instruction without an answer of its own is answered with. */
const INVALID_ERRORS: Record<InvalidRequest["reason"], StatusErrorNumber> = {
  unknown: STATUS_ERROR.instruction,
  params: STATUS_ERROR.dataLength,
  refused: STATUS_ERROR.resultFail,
};

/** Requests that go to one ID. */
type SingleRequest = Extract<DynamixelRequest, { readonly id: number }> | InvalidRequest;

/** One emulated bus. */
export class BusEmulator {
  /** The servos on the line, those that have vanished among them. */
  readonly servos: readonly Servo[];
  /** Faults from now on; none at first. */
  faults: FaultRates = NO_FAULTS;
  readonly #byteMs: number;
  readonly #baudCode: number;
  readonly #random: RandomSource;
  readonly #parser = new InstructionParser();
  readonly #vanished = new Set<Servo>();
  #freeAtMs = -Infinity;
  #lastByteMs = -Infinity;

  /**
   * A bus with everything plugged in.
   *
   * @param options Servos, line rate and chance.
   * @throws {RangeError} No servo can be set to that line rate, or one is bolted to none of the others.
   */
  constructor({ servos, baudRate = 1_000_000, random = seededRandom(0) }: BusEmulatorOptions) {
    const rates: readonly number[] = BAUD_RATES;
    this.#baudCode = rates.indexOf(baudRate);
    if (this.#baudCode < 0) {
      throw new RangeError(
        `Cannot emulate a bus: ${baudRate} bit/s, expected one of ${rates.join(", ")}`,
      );
    }
    this.servos = servos;
    for (const servo of servos) {
      if (servo.boltedTo !== undefined) this.servo(servo.boltedTo).bolt(servo);
    }
    this.#byteMs = (BITS_PER_BYTE * 1000) / baudRate;
    this.#random = random;
  }

  /**
   * The servo with an ID.
   *
   * @param id Its ID.
   * @returns The servo.
   * @throws {RangeError} There is none.
   */
  servo(id: number): Servo {
    const servo = this.servos.find((servo) => servo.id === id);
    if (servo !== undefined) return servo;
    throw new RangeError(`Cannot find servo ${id}: the bus has ${this.servos.map((s) => s.id)}`);
  }

  /** Take a servo's cable away: it neither hears nor answers, but goes on by itself. */
  vanish(id: number): void {
    this.#vanished.add(this.servo(id));
  }

  /**
   * Plug a servo in again.
   *
   * @param id Its ID.
   * @param nowMs The time it is.
   * @param hasLostPower It starts afresh, without torque.
   */
  bringBack(id: number, nowMs: number, hasLostPower = false): void {
    const servo = this.servo(id);
    this.#vanished.delete(servo);
    if (hasLostPower) servo.reboot(nowMs);
  }

  /** Let time pass for every servo. */
  advance(nowMs: number): void {
    for (const servo of this.servos) servo.advance(nowMs);
  }

  /**
   * Bytes from the controller.
   *
   * @param bytes Any number of them.
   * @param nowMs The time at which the first one is put on the line.
   * @returns Answers, in the order in which they are sent.
   */
  receive(bytes: Uint8Array, nowMs: number): ScheduledAnswer[] {
    if (nowMs - this.#lastByteMs > UNFINISHED_PACKET_MS) this.#parser.reset();
    const heardMs = this.#occupy(nowMs, bytes.length);
    this.#lastByteMs = heardMs;
    const answers: ScheduledAnswer[] = [];
    for (const packet of this.#parser.push(bytes)) {
      // A damaged instruction is as good as a lost one: no servo takes it for its own.
      if (this.#random() < this.faults.drop + this.faults.corrupt) continue;
      this.advance(heardMs);
      answers.push(...this.#execute(decodeRequest(packet), heardMs));
    }
    return answers.flatMap((answer) => injectFaults(answer, this.faults, this.#random));
  }

  #execute(request: DynamixelRequest | InvalidRequest, nowMs: number): ScheduledAnswer[] {
    const listening = this.servos.filter((servo) => this.#hears(servo, nowMs));
    for (const servo of listening) servo.heard(nowMs);
    const byId = (id: number) => listening.find((servo) => servo.id === id);
    switch (request.kind) {
      case "syncWrite":
        for (const [id, data] of request.rows) writeTo(listening, id, request.address, data);
        return [];
      case "bulkWrite":
        for (const { id, address, data } of request.rows) writeTo(listening, id, address, data);
        return [];
      case "syncRead":
      case "fastSyncRead": {
        const { address, length } = request;
        const items = request.ids.map((id) => ({ id, address, length }));
        return this.#readGroup(items, byId, request.kind === "fastSyncRead", nowMs);
      }
      case "bulkRead":
      case "fastBulkRead":
        return this.#readGroup(request.items, byId, request.kind === "fastBulkRead", nowMs);
      default:
        return this.#executeSingle(request, listening, nowMs);
    }
  }

  /** A request to one ID, its shadows, or everybody. Only the servo with the ID itself answers. */
  #executeSingle(
    request: SingleRequest,
    listening: readonly Servo[],
    nowMs: number,
  ): ScheduledAnswer[] {
    const { id, kind } = request;
    const answers: ScheduledAnswer[] = [];
    const isBroadcast = id === BROADCAST_ID;
    // Everybody's answers to a ping follow each other by ID.
    for (const servo of [...listening].sort((a, b) => a.id - b.id)) {
      const isShadow = servo.id !== id && servo.shadowId === id;
      if (!isBroadcast && !isShadow && servo.id !== id) continue;
      const status = perform(servo, request, isShadow, nowMs);
      const isAsked = kind === "ping" ? !isShadow : servo.id === id;
      if (isAsked && status !== undefined && answersTo(servo, kind)) {
        answers.push(this.#send(servo, status, nowMs));
      }
    }
    return answers;
  }

  #readGroup(
    items: readonly BulkItem[],
    byId: (id: number) => Servo | undefined,
    isFast: boolean,
    nowMs: number,
  ): ScheduledAnswer[] {
    if (isFast) return this.#readJointly(items, byId, nowMs);
    const answers: ScheduledAnswer[] = [];
    for (const { id, address, length } of items) {
      const servo = byId(id);
      if (servo === undefined || !answersTo(servo, "read")) continue;
      answers.push(this.#send(servo, readStatus(servo, address, length), nowMs));
    }
    return answers;
  }

  #readJointly(
    items: readonly BulkItem[],
    byId: (id: number) => Servo | undefined,
    nowMs: number,
  ): ScheduledAnswer[] {
    const blocks: FastBlock[] = [];
    let sentBytes: number | undefined;
    let end = PREFIX_BYTES + 1;
    for (const { id, address, length } of items) {
      const servo = byId(id);
      const knowsHow = (servo?.get("firmwareVersion") ?? 0) >= FAST_READ_FIRMWARE;
      if (servo === undefined || !knowsHow || !answersTo(servo, "read")) sentBytes ??= end;
      const data = servo?.read(address, length);
      const number = data === undefined ? STATUS_ERROR.access : STATUS_ERROR.none;
      const error = servo?.errorByte(number) ?? 0;
      blocks.push({ id, error, data: data ?? new Uint8Array(length) });
      end += length + 4;
    }
    const first = byId(items[0].id);
    // Without the first servo there is no header, and nobody else may begin; nor does anybody answer
    // with more than a packet can hold.
    if (end - PREFIX_BYTES > MAX_LENGTH) return [];
    if (first === undefined || sentBytes === PREFIX_BYTES + 1) return [];
    return [this.#send(first, encodeFastStatus(blocks).subarray(0, sentBytes), nowMs)];
  }

  #hears(servo: Servo, nowMs: number): boolean {
    return !this.#vanished.has(servo) && servo.isAwake(nowMs) &&
      servo.get("baudRate") === this.#baudCode;
  }

  #send(servo: Servo, bytes: Uint8Array, nowMs: number): ScheduledAnswer {
    const delayMs = servo.get("returnDelayTime") * RETURN_DELAY_UNIT_MS;
    const startMs = Math.max(nowMs, this.#freeAtMs) + delayMs;
    return { bytes, atMs: this.#occupy(startMs, bytes.length) };
  }

  /** Put bytes on the line as soon as it is free; returns when the last one has passed. */
  #occupy(fromMs: number, byteCount: number): number {
    this.#freeAtMs = Math.max(fromMs, this.#freeAtMs) + byteCount * this.#byteMs;
    return this.#freeAtMs;
  }
}

/** Carry out a request; returns the status packet that the servo would send, if any. */
function perform(
  servo: Servo,
  request: SingleRequest,
  isShadow: boolean,
  nowMs: number,
): Uint8Array | undefined {
  const status = (number: StatusErrorNumber) => encodeStatus(servo.id, servo.errorByte(number));
  switch (request.kind) {
    case "ping": {
      const [model, firmware] = [servo.get("modelNumber"), servo.get("firmwareVersion")];
      const params = Uint8Array.of(model & 0xff, model >> 8, firmware);
      return encodeStatus(servo.id, servo.errorByte(STATUS_ERROR.none), params);
    }
    case "read":
      return readStatus(servo, request.address, request.length);
    case "write":
      return status(servo.write(request.address, request.data, isShadow));
    case "regWrite":
      return status(servo.registerWrite(request.address, request.data, isShadow));
    case "action":
      return status(servo.action());
    case "clear":
      return status(servo.clearTurns());
    case "reboot": {
      // The answer goes out before the restart clears the alert.
      const answer = status(STATUS_ERROR.none);
      servo.reboot(nowMs);
      return answer;
    }
    case "invalid":
      return status(INVALID_ERRORS[request.reason]);
    default:
      return request satisfies never;
  }
}

function readStatus(servo: Servo, address: number, length: number): Uint8Array {
  const data = servo.read(address, length);
  if (data === undefined) return encodeStatus(servo.id, servo.errorByte(STATUS_ERROR.access));
  return encodeStatus(servo.id, servo.errorByte(STATUS_ERROR.none), data);
}

/** A write without an answer, to the servo with an ID and to its shadows. */
function writeTo(servos: readonly Servo[], id: number, address: number, data: Uint8Array): void {
  for (const servo of servos) {
    if (servo.id === id) servo.write(address, data);
    else if (servo.shadowId === id) servo.write(address, data, true);
  }
}

/** Whether Status_Return_Level lets a servo answer. */
function answersTo(servo: Servo, kind: SingleRequest["kind"]): boolean {
  const level = servo.get("statusReturnLevel");
  if (kind === "ping") return true;
  return kind === "read" ? level >= 1 : level === 2;
}
