/**
 * The joint answer to Fast Sync Read and Fast Bulk Read: one status packet to which each servo adds
 * its block in the order of the request.
 *
 *     FF FF FD 00 | FE | length (2) | 55 | error ID data CRC (2) | error ID data CRC (2) | …
 *
 * Nothing in it is stuffed. The checksum that ends a block covers the packet from its header to there,
 * so the last one is the packet's own. (ROBOTIS e-manual, Protocol 2.0.)
 *
 * @module
 */

import { crc16 } from "./crc16.ts";
import { BROADCAST_ID, MAX_LENGTH, PREFIX_BYTES, STATUS } from "./packet.ts";
import type { StatusPacket } from "./parser.ts";

/** What one servo says in a joint answer. */
export interface FastBlock {
  /** ID of the servo. */
  readonly id: number;
  /** Its error byte. */
  readonly error: number;
  /** What it read. */
  readonly data: Uint8Array;
}

/** Bytes of a block beside its data: error, ID and checksum. */
const BLOCK_OVERHEAD = 4;

/**
 * A joint answer.
 *
 * @param blocks What each servo says, in the order of the request.
 * @returns The bytes of the packet.
 * @throws {RangeError} It would be longer than a packet may be.
 */
export function encodeFastStatus(blocks: readonly FastBlock[]): Uint8Array {
  const length = blocks.reduce((sum, { data }) => sum + data.length + BLOCK_OVERHEAD, 1);
  if (length > MAX_LENGTH) {
    throw new RangeError(
      `Cannot encode a joint answer: length ${length}, at most ${MAX_LENGTH}; read fewer servos`,
    );
  }
  const packet = new Uint8Array(PREFIX_BYTES + length);
  packet.set([0xff, 0xff, 0xfd, 0x00, BROADCAST_ID, length & 0xff, length >> 8, STATUS]);
  let end = PREFIX_BYTES + 1;
  for (const { error, id, data } of blocks) {
    packet.set([error, id], end);
    packet.set(data, end + 2);
    end += 2 + data.length;
    const crc = crc16(packet, 0, end);
    packet.set([crc & 0xff, crc >> 8], end);
    end += 2;
  }
  return packet;
}

/**
 * Take a joint answer apart.
 *
 * @param packet The status packet, as the parser delivers it.
 * @param expected IDs of the request and the bytes asked of each, in its order.
 * @returns What each servo says, or undefined when the packet does not answer that request.
 */
export function decodeFastStatus(
  packet: StatusPacket,
  expected: readonly { readonly id: number; readonly length: number }[],
): FastBlock[] | undefined {
  if (packet.id !== BROADCAST_ID) return undefined;
  const blocks: FastBlock[] = [];
  // The first block's error byte stands where every status has it, so its data begins two bytes on.
  let [error, at] = [packet.error, 0];
  for (const { id, length } of expected) {
    if (packet.params[at] !== id) return undefined;
    const end = at + 1 + length;
    if (end > packet.params.length) return undefined;
    blocks.push({ id, error, data: packet.params.slice(at + 1, end) });
    error = packet.params[end + 2];
    at = end + 3;
  }
  // The parser has taken away the last block's checksum with the packet's: one block ends there.
  return at - 3 === packet.params.length ? blocks : undefined;
}
