/**
 * The library's groups for sync write and sync read, made once for each item and set of servos.
 *
 * @module
 */

import { type DxlLibrary, PROTOCOL } from "./symbols.ts";

type Symbols = DxlLibrary["symbols"];

/** Most groups kept. A controller uses a handful; beyond it, all are cleared and made afresh. */
const MAX_GROUPS = 64;
/** Sizes in which the library moves data, largest first. */
const PIECES = [4, 2, 1] as const;

/** A part of an item that the library moves at once. */
export interface Piece {
  /** Bytes from the item's start. */
  readonly offset: number;
  /** Bytes. */
  readonly size: 1 | 2 | 4;
}

/**
 * Cut an item into what the library can move.
 *
 * @param length Bytes, ≥ 1.
 * @returns Pieces of 4, 2 and 1 bytes in their order.
 */
export function piecesOf(length: number): Piece[] {
  const pieces: Piece[] = [];
  for (let offset = 0; offset < length;) {
    const size = PIECES.find((size) => size <= length - offset) ?? 1;
    pieces.push({ offset, size });
    offset += size;
  }
  return pieces;
}

/**
 * A little-endian number of a few bytes.
 *
 * @param bytes Where it stands.
 * @param piece Which bytes.
 * @returns The number, unsigned.
 */
export function pieceValue(bytes: Uint8Array, { offset, size }: Piece): number {
  let value = 0;
  for (let i = size - 1; i >= 0; i--) value = value * 256 + bytes[offset + i];
  return value;
}

/**
 * Put a number into bytes, little-endian.
 *
 * @param bytes Where it goes.
 * @param piece Which bytes.
 * @param value The number, unsigned.
 */
export function setPiece(bytes: Uint8Array, { offset, size }: Piece, value: number): void {
  for (let i = 0; i < size; i++) bytes[offset + i] = (value >>> (8 * i)) & 0xff;
}

/** Groups of one port. */
export class SyncGroups implements Disposable {
  readonly #symbols: Symbols;
  readonly #port: number;
  readonly #writes = new Map<string, number>();
  readonly #reads = new Map<string, number>();

  /**
   * Keep groups.
   *
   * @param symbols The library.
   * @param port The port's number in it.
   */
  constructor(symbols: Symbols, port: number) {
    this.#symbols = symbols;
    this.#port = port;
  }

  /**
   * Send a sync write.
   *
   * @param address First address.
   * @param length Bytes a row.
   * @param rows Bytes by ID, at least one row.
   * @returns One of the library's results.
   */
  write(address: number, length: number, rows: ReadonlyMap<number, Uint8Array>): number {
    const symbols = this.#symbols;
    const key = [address, length, ...rows.keys()].join();
    let group = this.#writes.get(key);
    if (group === undefined) {
      if (this.#writes.size >= MAX_GROUPS) this.#clearWrites();
      group = symbols.groupSyncWrite(this.#port, PROTOCOL, address, length);
      // Adding a servo makes its memory; the bytes follow below, at any offset.
      for (const id of rows.keys()) symbols.groupSyncWriteAddParam(group, id, 0, 1);
      this.#writes.set(key, group);
    }
    const pieces = piecesOf(length);
    for (const [id, data] of rows) {
      for (const piece of pieces) {
        const value = pieceValue(data, piece);
        symbols.groupSyncWriteChangeParam(group, id, value, piece.size, piece.offset);
      }
    }
    symbols.groupSyncWriteTxPacket(group);
    return symbols.getLastTxRxResult(this.#port, PROTOCOL);
  }

  /**
   * Send a sync read. The answers are the caller's to collect; then the group must be ended.
   *
   * @param address First address.
   * @param length Bytes a servo.
   * @param ids Servos, at least one.
   * @returns One of the library's results, and how to let go of the port after success.
   */
  beginRead(
    address: number,
    length: number,
    ids: readonly number[],
  ): { readonly result: number; readonly end: () => void } {
    const group = this.#readGroup(address, length, ids);
    this.#symbols.groupSyncReadTxPacket(group);
    const result = this.#symbols.getLastTxRxResult(this.#port, PROTOCOL);
    const end = () => {
      // The library holds the port for an answer; it looks once, finds the time over, and lets go.
      this.#symbols.setPacketTimeoutMSec(this.#port, 0);
      this.#symbols.groupSyncReadRxPacket(group);
    };
    return { result, end };
  }

  /** Free the groups' memory. */
  [Symbol.dispose](): void {
    this.#clearWrites();
    this.#clearReads();
  }

  #readGroup(address: number, length: number, ids: readonly number[]): number {
    const key = [address, length, ...ids].join();
    const known = this.#reads.get(key);
    if (known !== undefined) return known;
    if (this.#reads.size >= MAX_GROUPS) this.#clearReads();
    const group = this.#symbols.groupSyncRead(this.#port, PROTOCOL, address, length);
    for (const id of ids) this.#symbols.groupSyncReadAddParam(group, id);
    this.#reads.set(key, group);
    return group;
  }

  #clearWrites(): void {
    for (const group of this.#writes.values()) this.#symbols.groupSyncWriteClearParam(group);
    this.#writes.clear();
  }

  #clearReads(): void {
    for (const group of this.#reads.values()) this.#symbols.groupSyncReadClearParam(group);
    this.#reads.clear();
  }
}
