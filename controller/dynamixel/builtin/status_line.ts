/**
 * One conversation over a port: an instruction goes out, status packets come back until all have
 * answered or the deadline has passed.
 *
 * @module
 */

import { encodeRequest } from "../protocol/instructions.ts";
import { type StatusPacket, StatusParser } from "../protocol/parser.ts";
import type { PingReply, ServoReading } from "../bus.ts";
import type { BytePort } from "./byte_port.ts";
import { isAnswer, readingOf } from "./group_reading.ts";
import { BROADCAST_ID, MAX_SERVO_ID } from "../protocol/packet.ts";
import { answerTimeoutMs, type LineTiming } from "./line_timing.ts";

/** How listening ended: everybody answered, or somebody did not, with or without broken bytes. */
export type ListenEnd = "complete" | "timeout" | "corrupt";

/** Silence that ends the wait for stragglers after a fault, ms. */
const SETTLE_SILENCE_MS = 1;
/** Longest wait for that silence, ms. */
const SETTLE_LIMIT_MS = 4;

/** The controller's end of a line. */
export class StatusLine {
  readonly #port: BytePort;
  readonly #parser = new StatusParser();
  readonly #buffer = new Uint8Array(2048);
  #hasStragglers = false;

  /** Talk over a port. @param port The port, which stays the caller's. */
  constructor(port: BytePort) {
    this.#port = port;
  }

  /**
   * Send an instruction.
   *
   * @param packet The instruction's bytes.
   * @throws {BusError} The port is gone or takes no bytes.
   */
  send(packet: Uint8Array): void {
    this.clear();
    this.#port.write(packet as Uint8Array<ArrayBuffer>);
  }

  /**
   * Drop what came before, which belongs to nobody any more.
   *
   * @throws {BusError} The port is gone.
   */
  clear(): void {
    // An answer carries no address: one that comes late would pass for the answer to the next
    // question. After a fault the line is therefore given time to fall silent.
    if (this.#hasStragglers) this.#settle();
    this.#port.flushInput();
    this.#parser.reset();
  }

  /**
   * Listen for answers.
   *
   * @param answers How many are expected.
   * @param timeoutMs Longest wait in ms from now.
   * @param take Gets every valid status packet; returns how many answers are still missing.
   * @returns How it ended.
   * @throws {BusError} The port is gone.
   */
  listen(answers: number, timeoutMs: number, take: (status: StatusPacket) => number): ListenEnd {
    const before = this.#parser.counts;
    const deadline = performance.now() + timeoutMs;
    for (let missing = answers;;) {
      const count = this.#port.read(this.#buffer, Math.max(0, deadline - performance.now()));
      for (const status of this.#parser.push(this.#buffer.subarray(0, count))) {
        missing = take(status);
      }
      if (missing <= 0) return "complete";
      const now = this.#parser.counts;
      const broken = now.corrupt - before.corrupt;
      // Everybody has spoken and some could not be understood: nothing more will come.
      const isOver = broken >= missing && this.#parser.pendingBytes === 0;
      if (!isOver && performance.now() < deadline) continue;
      this.#hasStragglers = true;
      const isCorrupt = broken > 0 || now.malformed > before.malformed ||
        now.skippedBytes > before.skippedBytes || this.#parser.pendingBytes > 0;
      return isCorrupt ? "corrupt" : "timeout";
    }
  }

  /**
   * Listen for the answers to a sync read.
   *
   * @param ids Servos that were asked.
   * @param length Bytes asked of each.
   * @param timeoutMs Longest wait in ms from now.
   * @param found Gets what each servo says.
   * @returns How it ended.
   * @throws {BusError} The port is gone.
   */
  listenToEach(
    ids: readonly number[],
    length: number,
    timeoutMs: number,
    found: Map<number, ServoReading>,
  ): ListenEnd {
    const missing = new Set(ids);
    return this.listen(ids.length, timeoutMs, (status) => {
      if (ids.includes(status.id) && isAnswer(status, length)) {
        missing.delete(status.id);
        // The later of two answers wins: the earlier one may be a straggler of the cycle before.
        found.set(status.id, readingOf(status.id, status.error, status.params, length));
      }
      return missing.size;
    });
  }

  #settle(): void {
    this.#hasStragglers = false;
    const deadline = performance.now() + SETTLE_LIMIT_MS;
    while (performance.now() < deadline) {
      if (this.#port.read(this.#buffer, SETTLE_SILENCE_MS) === 0) return;
    }
  }
}

/**
 * Ask everybody who they are.
 *
 * @param line The line.
 * @param timing Its timing; the wait is as long as 253 servos would need.
 * @returns Everybody who answered, in the order of IDs.
 * @throws {BusError} The port is gone.
 */
export function pingEverybody(
  line: StatusLine,
  timing: LineTiming,
): (PingReply & { readonly id: number })[] {
  const found = new Map<number, PingReply & { readonly id: number }>();
  const packet = encodeRequest({ kind: "ping", id: BROADCAST_ID });
  const servos = MAX_SERVO_ID + 1;
  line.send(packet);
  line.listen(servos, answerTimeoutMs(timing, packet.length, servos, PING_BYTES), (status) => {
    const reply = pingReply(status);
    if (reply !== undefined) found.set(status.id, { id: status.id, ...reply });
    return servos - found.size;
  });
  return [...found.values()].sort((a, b) => a.id - b.id);
}

/** Bytes of parameters in the answer to a ping: model (2) and firmware. */
export const PING_BYTES = 3;

/**
 * Read the answer to a ping.
 *
 * @param status A status packet.
 * @returns What the servo says, or undefined when it answers something else.
 */
export function pingReply({ error, params }: StatusPacket): PingReply | undefined {
  if (params.length !== PING_BYTES) return undefined;
  return { error, model: params[0] | (params[1] << 8), firmware: params[2] };
}
