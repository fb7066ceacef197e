/**
 * Damaging files at random, for tests of what readers make of them.
 *
 * @module
 */

import type { RandomSource } from "../random.ts";
import { crc32c } from "./ocdbt/crc32c.ts";

/** Most bytes that a file grows by. */
const MAX_GROWTH = 300;

/** Bytes at the edges of number formats, and digits, which change shapes in JSON. */
const TELLING_BYTES = [0, 1, 2, 127, 128, 254, 255, ...new TextEncoder().encode('0189-,"[]{}')];

const ENVELOPE_MAGICS = [0x0cdb3a2a, 0x0cdb1234, 0x0cdb20de];
const ENVELOPE_HEADER_BYTES = 12;
const CHECKSUM_BYTES = 4;

function below(random: RandomSource, end: number): number {
  return Math.floor(random() * end);
}

function pick<T>(random: RandomSource, choices: readonly T[]): T {
  return choices[below(random, choices.length)];
}

function splice(bytes: Uint8Array, start: number, end: number, inserted: Uint8Array): Uint8Array {
  const result = new Uint8Array(start + inserted.length + bytes.length - end);
  result.set(bytes.subarray(0, start));
  result.set(inserted, start);
  result.set(bytes.subarray(end), start + inserted.length);
  return result;
}

/** The ways to damage a file. None keeps the bytes that it is given. */
const MUTATIONS: readonly ((bytes: Uint8Array, random: RandomSource) => Uint8Array)[] = [
  function flipBits(bytes, random) {
    const result = bytes.slice();
    for (let left = 1 + below(random, 4); left > 0; left--) {
      result[below(random, result.length)] ^= 1 << below(random, 8);
    }
    return result;
  },
  function setBytes(bytes, random) {
    const result = bytes.slice();
    for (let left = 1 + below(random, 3); left > 0; left--) {
      result[below(random, result.length)] = pick(random, TELLING_BYTES);
    }
    return result;
  },
  function truncate(bytes, random) {
    return bytes.slice(0, below(random, bytes.length));
  },
  function extend(bytes, random) {
    const more = Uint8Array.from(
      { length: 1 + below(random, MAX_GROWTH) },
      () => below(random, 256),
    );
    return splice(bytes, bytes.length, bytes.length, more);
  },
  function insertBytes(bytes, random) {
    const at = below(random, bytes.length);
    const more = Uint8Array.from(
      { length: 1 + below(random, 9) },
      () => pick(random, TELLING_BYTES),
    );
    return splice(bytes, at, at, more);
  },
  function removeBytes(bytes, random) {
    const start = below(random, bytes.length);
    const end = Math.min(bytes.length, start + 1 + below(random, 40));
    return splice(bytes, start, end, new Uint8Array(0));
  },
  function swapBlocks(bytes, random) {
    const length = 1 + below(random, Math.max(1, bytes.length >> 2));
    const [first, second] = [0, 0].map(() => below(random, Math.max(1, bytes.length - length)));
    const result = bytes.slice();
    result.set(bytes.subarray(first, first + length), second);
    result.set(bytes.subarray(second, second + length), first);
    return result;
  },
  function zeroBlock(bytes, random) {
    const start = below(random, bytes.length);
    return bytes.slice().fill(pick(random, [0, 255]), start, start + 1 + below(random, 16));
  },
];

/**
 * Damage a file in one way.
 *
 * @param bytes Its content.
 * @param random What decides how.
 * @returns The damaged content; now and then the same.
 */
export function mutate(bytes: Uint8Array, random: RandomSource): Uint8Array {
  if (bytes.length === 0) return Uint8Array.of(below(random, 256));
  return pick(random, MUTATIONS)(bytes, random);
}

/**
 * Make the checksums of damaged OCDBT files right, so that what lies behind them is reached.
 *
 * @param bytes A manifest or data file; changed in place.
 */
export function repairChecksums(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let start = 0; start + ENVELOPE_HEADER_BYTES < bytes.length; start++) {
    if (!ENVELOPE_MAGICS.includes(view.getUint32(start))) continue;
    // A manifest is the whole file: its length is repaired as well.
    if (start === 0 && view.getUint32(0) === ENVELOPE_MAGICS[0]) {
      view.setBigUint64(4, BigInt(bytes.length), true);
    }
    const end = start + Number(view.getBigUint64(start + 4, true));
    if (end > bytes.length || end < start + ENVELOPE_HEADER_BYTES + CHECKSUM_BYTES) continue;
    const body = bytes.subarray(start, end - CHECKSUM_BYTES);
    view.setUint32(end - CHECKSUM_BYTES, crc32c(body), true);
  }
}
