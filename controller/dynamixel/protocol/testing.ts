/**
 * What the tests of the Dynamixel code share: packets made by ROBOTIS' library, and hexadecimal.
 *
 * @module
 */

import type { DynamixelRequest, InvalidRequest } from "./instructions.ts";
import type { FastBlock } from "./fast_status.ts";

/** A packet and the request in it. */
export interface GoldenInstruction {
  /** What the packet asks. */
  readonly request: DynamixelRequest | InvalidRequest;
  /** The packet. */
  readonly packet: Uint8Array;
}

/** Packets that ROBOTIS' library made, with what they mean. */
export interface Goldens {
  /** Instruction packets. */
  readonly instructions: readonly GoldenInstruction[];
  /** Status packets. */
  readonly statuses: readonly (FastBlock & { readonly packet: Uint8Array })[];
  /** Joint answers. */
  readonly fastStatuses: readonly {
    readonly blocks: readonly FastBlock[];
    readonly packet: Uint8Array;
  }[];
}

const FIXTURE = new URL("../../../tests/fixtures/dynamixel/packets.json", import.meta.url);

/**
 * Read the packets that `scripts/goldens/dynamixel_golden.py` wrote.
 *
 * @returns The packets; `packet` and `data` as bytes, `rows` of a sync write as a map.
 */
export function readGoldens(): Goldens {
  return JSON.parse(Deno.readTextFileSync(FIXTURE), (key, value) => {
    if (key === "packet") return bytesOf(value);
    if (key === "data") return Uint8Array.from(value);
    if (value?.kind !== "syncWrite") return value;
    const rows: [number, number[]][] = value.rows;
    return { ...value, rows: new Map(rows.map(([id, data]) => [id, Uint8Array.from(data)])) };
  });
}

/**
 * Bytes written in hexadecimal.
 *
 * @param hex Such as "FF FF fd00".
 * @returns The bytes.
 */
export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""));
}

/**
 * Put bytes one behind the other.
 *
 * @param parts Pieces in their order.
 * @returns All of them in one.
 */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
