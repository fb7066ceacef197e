/**
 * Taking numbers and byte strings from a decoded OCDBT body, one after the other.
 *
 * @module
 */

import { CheckpointError } from "../errors.ts";

/** Bits of payload in a byte of a varint. */
const VARINT_BITS = 7;

/** 64 bits take at most ten bytes of seven. */
const MAX_VARINT_BYTES = 10;

/** A position in some bytes that never runs past their end. */
export class ByteReader {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #place: string;
  #position = 0;

  /**
   * Begin at the first byte.
   *
   * @param bytes What to read.
   * @param place Where they come from, for errors.
   */
  constructor(bytes: Uint8Array<ArrayBuffer>, place: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#place = place;
  }

  /** Bytes that are left. */
  get remaining(): number {
    return this.#bytes.length - this.#position;
  }

  /**
   * An error about these bytes.
   *
   * @param reason What is wrong, without a full stop.
   */
  damaged(reason: string): CheckpointError {
    return new CheckpointError(`Cannot read ${this.#place}: ${reason}; the checkpoint is damaged.`);
  }

  /**
   * The next bytes, without a copy.
   *
   * @param length How many.
   * @throws {CheckpointError} When there are fewer.
   */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    if (!(length <= this.remaining)) {
      throw this.damaged(
        `${length} bytes are expected at byte ${this.#position} of its body, ` +
          `but only ${this.remaining} are left`,
      );
    }
    this.#position += length;
    return this.#bytes.subarray(this.#position - length, this.#position);
  }

  /** The next byte as a number. */
  uint8(): number {
    return this.bytes(1)[0];
  }

  /** Four bytes, little-endian, signed. */
  int32(): number {
    this.bytes(4);
    return this.#view.getInt32(this.#position - 4, true);
  }

  /** A number of seven bits a byte, lowest first; above 2⁵³ it is rounded. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < MAX_VARINT_BYTES; i++) {
      const byte = this.uint8();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 2 ** VARINT_BITS;
    }
    throw this.damaged(`a number at byte ${this.#position} of its body has more than 64 bits`);
  }

  /**
   * A varint that counts things which take at least a byte each.
   *
   * @param what Their name, for the error.
   * @param max Largest count.
   * @throws {CheckpointError} When the rest cannot hold that many, before anything is allocated.
   */
  count(what: string, max: number): number {
    const count = this.varint();
    if (count > max || count > this.remaining) {
      throw this.damaged(
        `it claims ${count} ${what}, the limit is ${Math.min(max, this.remaining)}`,
      );
    }
    return count;
  }

  /**
   * Several varints in a row.
   *
   * @param count How many.
   */
  varints(count: number): number[] {
    return Array.from({ length: count }, () => this.varint());
  }

  /**
   * Check that everything has been read.
   *
   * @throws {CheckpointError} When bytes are left.
   */
  end(): void {
    if (this.remaining > 0) throw this.damaged(`${this.remaining} bytes are left over in its body`);
  }
}
