/**
 * The instructions of Protocol 2.0 with typed parameters, both ways.
 *
 * Factory Reset is known, so that an emulator can refuse it, but it cannot be encoded.
 *
 * @module
 */

import { BROADCAST_ID, encodeInstruction, MAX_SERVO_ID } from "./packet.ts";
import type { InstructionPacket } from "./parser.ts";

/** Instruction bytes. */
export const INSTRUCTION = {
  ping: 0x01,
  read: 0x02,
  write: 0x03,
  regWrite: 0x04,
  action: 0x05,
  factoryReset: 0x06,
  reboot: 0x08,
  clear: 0x10,
  syncRead: 0x82,
  syncWrite: 0x83,
  fastSyncRead: 0x8a,
  bulkRead: 0x92,
  bulkWrite: 0x93,
  fastBulkRead: 0x9a,
} as const;

/** A stretch of one servo's control table. */
export interface BulkItem {
  /** Servo, 0–252. */
  readonly id: number;
  /** First address. */
  readonly address: number;
  /** Bytes to read. */
  readonly length: number;
}

/** Bytes for one servo's control table. */
export interface BulkRow {
  /** Servo, 0–252. */
  readonly id: number;
  /** First address. */
  readonly address: number;
  /** Bytes to write. */
  readonly data: Uint8Array;
}

/** What a controller can ask of servos. `id` is 0–252, or the broadcast ID where all are meant. */
export type DynamixelRequest =
  | { readonly kind: "ping" | "action" | "reboot" | "clear"; readonly id: number }
  | {
    readonly kind: "read";
    readonly id: number;
    readonly address: number;
    readonly length: number;
  }
  | {
    readonly kind: "write" | "regWrite";
    readonly id: number;
    readonly address: number;
    readonly data: Uint8Array;
  }
  | {
    readonly kind: "syncRead" | "fastSyncRead";
    readonly address: number;
    readonly length: number;
    readonly ids: readonly number[];
  }
  | {
    readonly kind: "syncWrite";
    readonly address: number;
    readonly length: number;
    readonly rows: ReadonlyMap<number, Uint8Array>;
  }
  | { readonly kind: "bulkRead" | "fastBulkRead"; readonly items: readonly BulkItem[] }
  | { readonly kind: "bulkWrite"; readonly rows: readonly BulkRow[] };

/** Why an instruction packet is no {@link DynamixelRequest}. */
export interface InvalidRequest {
  /** Tells it from requests. */
  readonly kind: "invalid";
  /** Servo that is meant. */
  readonly id: number;
  /** `unknown` instruction, wrong number of `params`, or `refused` (factory reset). */
  readonly reason: "unknown" | "params" | "refused";
}

/** What clears the multi-turn count: its number and the letters of safety that go with it. */
const CLEAR_PARAMS = Uint8Array.of(0x01, 0x44, 0x58, 0x4c, 0x22);

/**
 * The packet of a request.
 *
 * @param request What to ask.
 * @returns The bytes of the packet.
 * @throws {RangeError} An ID, address or length is out of range, or rows differ in length.
 */
export function encodeRequest(request: DynamixelRequest): Uint8Array {
  const instruction = INSTRUCTION[request.kind];
  switch (request.kind) {
    case "ping":
    case "action":
    case "reboot":
      return encodeInstruction(request.id, instruction);
    case "clear":
      return encodeInstruction(request.id, instruction, CLEAR_PARAMS);
    case "read": {
      const params = Uint8Array.of(...word(request.address), ...word(request.length));
      return encodeInstruction(request.id, instruction, params);
    }
    case "write":
    case "regWrite": {
      const params = Uint8Array.of(...word(request.address), ...request.data);
      return encodeInstruction(request.id, instruction, params);
    }
    case "syncRead":
    case "fastSyncRead": {
      const ids = request.ids.map(servoId);
      const params = [...word(request.address), ...word(request.length), ...ids];
      return encodeInstruction(BROADCAST_ID, instruction, Uint8Array.from(params));
    }
    case "syncWrite": {
      const params = [...word(request.address), ...word(request.length)];
      for (const [id, data] of request.rows) {
        if (data.length !== request.length) {
          throw new RangeError(
            `Cannot encode a sync write: ${data.length} bytes for ID ${id}, expected ${request.length}`,
          );
        }
        params.push(servoId(id), ...data);
      }
      return encodeInstruction(BROADCAST_ID, instruction, Uint8Array.from(params));
    }
    case "bulkRead":
    case "fastBulkRead": {
      const params = request.items.flatMap(({ id, address, length }) => [
        servoId(id),
        ...word(address),
        ...word(length),
      ]);
      return encodeInstruction(BROADCAST_ID, instruction, Uint8Array.from(params));
    }
    case "bulkWrite": {
      const params = request.rows.flatMap(({ id, address, data }) => [
        servoId(id),
        ...word(address),
        ...word(data.length),
        ...data,
      ]);
      return encodeInstruction(BROADCAST_ID, instruction, Uint8Array.from(params));
    }
    default:
      return request satisfies never;
  }
}

/**
 * What an instruction packet asks.
 *
 * @param packet The packet, as the parser delivers it.
 * @returns The request, or why it is none.
 */
export function decodeRequest(packet: InstructionPacket): DynamixelRequest | InvalidRequest {
  const { id, instruction, params } = packet;
  const wrongParams: InvalidRequest = { kind: "invalid", id, reason: "params" };
  switch (instruction) {
    case INSTRUCTION.ping:
      return params.length === 0 ? { kind: "ping", id } : wrongParams;
    case INSTRUCTION.action:
      return params.length === 0 ? { kind: "action", id } : wrongParams;
    case INSTRUCTION.reboot:
      return params.length === 0 ? { kind: "reboot", id } : wrongParams;
    case INSTRUCTION.clear:
      return CLEAR_PARAMS.every((byte, i) => params[i] === byte)
        ? { kind: "clear", id }
        : wrongParams;
    case INSTRUCTION.read:
      if (params.length !== 4) return wrongParams;
      return { kind: "read", id, address: wordAt(params, 0), length: wordAt(params, 2) };
    case INSTRUCTION.write:
    case INSTRUCTION.regWrite: {
      if (params.length < 3) return wrongParams;
      const kind = instruction === INSTRUCTION.write ? "write" : "regWrite";
      return { kind, id, address: wordAt(params, 0), data: params.subarray(2) };
    }
    case INSTRUCTION.syncRead:
    case INSTRUCTION.fastSyncRead: {
      if (params.length < 5) return wrongParams;
      const kind = instruction === INSTRUCTION.syncRead ? "syncRead" : "fastSyncRead";
      const ids = [...params.subarray(4)];
      return { kind, address: wordAt(params, 0), length: wordAt(params, 2), ids };
    }
    case INSTRUCTION.syncWrite:
      return decodeSyncWrite(params) ?? wrongParams;
    case INSTRUCTION.bulkRead:
    case INSTRUCTION.fastBulkRead: {
      if (params.length === 0 || params.length % 5 !== 0) return wrongParams;
      const kind = instruction === INSTRUCTION.bulkRead ? "bulkRead" : "fastBulkRead";
      const items = Array.from({ length: params.length / 5 }, (_, i): BulkItem => ({
        id: params[5 * i],
        address: wordAt(params, 5 * i + 1),
        length: wordAt(params, 5 * i + 3),
      }));
      return { kind, items };
    }
    case INSTRUCTION.bulkWrite:
      return decodeBulkWrite(params) ?? wrongParams;
    case INSTRUCTION.factoryReset:
      return { kind: "invalid", id, reason: "refused" };
    default:
      return { kind: "invalid", id, reason: "unknown" };
  }
}

function decodeSyncWrite(params: Uint8Array): DynamixelRequest | undefined {
  if (params.length < 6) return undefined;
  const [address, length] = [wordAt(params, 0), wordAt(params, 2)];
  if (length === 0 || (params.length - 4) % (length + 1) !== 0) return undefined;
  const rows = new Map<number, Uint8Array>();
  for (let at = 4; at < params.length; at += 1 + length) {
    rows.set(params[at], params.subarray(at + 1, at + 1 + length));
  }
  return { kind: "syncWrite", address, length, rows };
}

function decodeBulkWrite(params: Uint8Array): DynamixelRequest | undefined {
  const rows: BulkRow[] = [];
  for (let at = 0; at < params.length;) {
    if (at + 5 > params.length) return undefined;
    const end = at + 5 + wordAt(params, at + 3);
    if (end > params.length) return undefined;
    rows.push({
      id: params[at],
      address: wordAt(params, at + 1),
      data: params.subarray(at + 5, end),
    });
    at = end;
  }
  return rows.length > 0 ? { kind: "bulkWrite", rows } : undefined;
}

function servoId(id: number): number {
  if (Number.isInteger(id) && id >= 0 && id <= MAX_SERVO_ID) return id;
  throw new RangeError(`Cannot encode a request: ID ${id}, expected 0–${MAX_SERVO_ID}`);
}

/** Two little-endian bytes. */
function word(value: number): [number, number] {
  if (Number.isInteger(value) && value >= 0 && value <= 0xffff) return [value & 0xff, value >> 8];
  throw new RangeError(`Cannot encode a request: address or length ${value}, expected 0–65535`);
}

function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}
