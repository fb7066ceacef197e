/**
 * Cuts ffmpeg's byte stream of PPM pictures into frames. Each byte is copied once, from the chunk
 * that was read into the buffer of the frame it belongs to.
 *
 * @module
 */

import type { CaptureClock } from "./capture_clock.ts";
import type { FrameSize, FrameWriter } from "./latest_frame.ts";

/** Longest header of a picture: `P6`, two sides of up to five digits, `255`, and white space. */
const MAX_HEADER_BYTES = 20;

/** Takes chunks of a stream, publishes whole pictures. */
export class FrameReader {
  readonly #writer: FrameWriter;
  readonly #clock: CaptureClock;
  /** What stands in front of every picture of the right size. */
  readonly #header: Uint8Array;
  /** Bytes of the header and the picture that have come. */
  #position = 0;
  #capturedMs = 0;

  /**
   * Read from the start of a stream.
   * @param writer Receives the pictures; its size is the one expected.
   * @param clock Stamps them; one that has stamped none.
   */
  constructor(writer: FrameWriter, clock: CaptureClock) {
    this.#writer = writer;
    this.#clock = clock;
    const { width, height } = writer.size;
    this.#header = new TextEncoder().encode(`P6\n${width} ${height}\n255\n`);
  }

  /** Whether a picture has begun that is not complete. */
  get isPartial(): boolean {
    return this.#position > 0;
  }

  /**
   * Take the next bytes of the stream.
   *
   * @param chunk Any number of bytes; not kept.
   * @param nowMs When they arrived, in ms of the controller's clock.
   * @throws {RangeError} The pictures have another size than expected, or are none.
   */
  push(chunk: Uint8Array, nowMs: number): void {
    const header = this.#header.length;
    const total = header + this.#writer.back.length;
    let at = 0;
    while (at < chunk.length) {
      if (this.#position === 0) this.#capturedMs = this.#clock.stamp(nowMs);
      if (this.#position < header) {
        if (chunk[at] !== this.#header[this.#position]) this.#refuse(chunk.subarray(at));
        at++;
        this.#position++;
        continue;
      }
      const part = chunk.subarray(at, at + total - this.#position);
      this.#writer.back.set(part, this.#position - header);
      at += part.length;
      this.#position += part.length;
      if (this.#position === total) {
        this.#writer.publish(this.#capturedMs);
        this.#position = 0;
      }
    }
  }

  #refuse(rest: Uint8Array): never {
    const { width, height } = this.#writer.size;
    const seen = [
      ...this.#header.subarray(0, this.#position),
      ...rest.subarray(0, MAX_HEADER_BYTES),
    ];
    const size = parseHeader(String.fromCharCode(...seen));
    const wanted = `${width}×${height}`;
    throw new RangeError(
      size === null
        ? `it sends no pictures of ${wanted} but other bytes`
        : `it sends pictures of ${size.width}×${size.height}, but ${wanted} were asked for: set ` +
          "width and height to a size that it has",
    );
  }
}

function parseHeader(text: string): FrameSize | null {
  const found = /^P6\n(\d+) (\d+)\n/.exec(text);
  return found === null ? null : { width: Number(found[1]), height: Number(found[2]) };
}
