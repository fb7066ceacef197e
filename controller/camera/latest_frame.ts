/**
 * The newest picture of one camera, handed from the thread that reads to the thread that looks.
 *
 * Three buffers in shared memory: the writer fills one, the reader looks at another, and the third
 * lies between them. Both sides swap theirs for the one in the middle with a single atomic exchange,
 * so neither waits, the reader never sees a picture that is being written, and what it took stays
 * whole until it takes the next. There must be one writer and one reader.
 *
 * @module
 */

import type { RgbImage } from "../../common/types.ts";

const BUFFERS = 3;
const CHANNELS = 3;
/** Which buffer lies in the middle (low bits), and whether the reader has not seen it (high bit). */
const INDEX = 0b011;
const UNSEEN = 0b100;
/** Words of the header. */
const MIDDLE = 0;
const SEQUENCE = 1;
const DROPPED = 2;
const HEADER_BYTES = 16;

/** Size of a picture in pixels. */
export interface FrameSize {
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
}

/** What a writer and a reader share; can be posted to another thread. */
export interface FrameMemory extends FrameSize {
  /** Header, capture times and sequence numbers, then the three pictures. */
  readonly shared: SharedArrayBuffer;
}

/** A picture as the camera gave it. */
export interface CapturedFrame {
  /** The picture, in its buffer: whole until the next `take`. Copy what has to last. */
  readonly image: RgbImage;
  /** Position among the camera's pictures, from 1. */
  readonly sequence: number;
  /**
   * When its first bytes arrived, in ms of the controller's clock, less the time that they waited in
   * queues (see capture_clock.ts): the transfer to this process does not count. Exposure, the cable
   * and decoding, which came before, cannot be seen from here, so the scene is somewhat older.
   */
  readonly capturedMs: number;
}

/** The newest picture and whether it may be acted on. */
export type FrameOutcome =
  | { readonly kind: "fresh" | "stale"; readonly frame: CapturedFrame; readonly ageMs: number }
  | { readonly kind: "none" };

/**
 * Memory for the pictures of one camera.
 *
 * @param size Size of its pictures, in pixels.
 * @returns Memory for one {@link FrameWriter} and one {@link LatestFrame}.
 */
export function createFrameMemory({ width, height }: FrameSize): FrameMemory {
  const bytes = HEADER_BYTES + BUFFERS * (8 + 8 + width * height * CHANNELS);
  const shared = new SharedArrayBuffer(bytes);
  // The writer starts with buffer 0 and the reader with buffer 2.
  new Int32Array(shared, 0, HEADER_BYTES / 4)[MIDDLE] = 1;
  return { width, height, shared };
}

function views({ width, height, shared }: FrameMemory) {
  const pixels = width * height * CHANNELS;
  const start = HEADER_BYTES + BUFFERS * 16;
  return {
    header: new Int32Array(shared, 0, HEADER_BYTES / 4),
    capturedMs: new Float64Array(shared, HEADER_BYTES, BUFFERS),
    sequences: new Float64Array(shared, HEADER_BYTES + BUFFERS * 8, BUFFERS),
    buffers: Array.from(
      { length: BUFFERS },
      (_, i) => new Uint8Array(shared, start + i * pixels, pixels),
    ),
  };
}

/** The side that fills buffers. */
export class FrameWriter {
  /** Size of the pictures. */
  readonly size: FrameSize;
  readonly #views: ReturnType<typeof views>;
  #back = 0;

  /**
   * Take the writing side of a memory; only one may.
   * @param memory What it shares with the reader.
   */
  constructor(memory: FrameMemory) {
    this.size = { width: memory.width, height: memory.height };
    this.#views = views(memory);
  }

  /** The buffer to fill, `[height, width, 3]`. Another one after each `publish`. */
  get back(): Uint8Array {
    return this.#views.buffers[this.#back];
  }

  /** Pictures published so far. */
  get frames(): number {
    return Atomics.load(this.#views.header, SEQUENCE);
  }

  /**
   * Hand over the buffer, full.
   * @param capturedMs When it was captured, in ms of the controller's clock.
   */
  publish(capturedMs: number): void {
    const { header, sequences } = this.#views;
    this.#views.capturedMs[this.#back] = capturedMs;
    sequences[this.#back] = Atomics.load(header, SEQUENCE) + 1;
    const old = Atomics.exchange(header, MIDDLE, this.#back | UNSEEN);
    this.#back = old & INDEX;
    if ((old & UNSEEN) !== 0) Atomics.add(header, DROPPED, 1);
    Atomics.add(header, SEQUENCE, 1);
    Atomics.notify(header, SEQUENCE);
  }
}

/** The side that looks at the newest picture. */
export class LatestFrame {
  readonly #size: FrameSize;
  readonly #views: ReturnType<typeof views>;
  #front = 2;

  /**
   * Take the reading side of a memory; only one may.
   * @param memory What it shares with the writer.
   */
  constructor(memory: FrameMemory) {
    this.#size = { width: memory.width, height: memory.height };
    this.#views = views(memory);
  }

  /** Pictures published so far. */
  get frames(): number {
    return Atomics.load(this.#views.header, SEQUENCE);
  }

  /** Pictures that a newer one replaced before anybody looked: most, as a policy looks rarely. */
  get dropped(): number {
    return Atomics.load(this.#views.header, DROPPED);
  }

  /**
   * The newest picture; never waits.
   * @returns The same one again if there is no newer; null before the first.
   */
  take(): CapturedFrame | null {
    const { header, sequences, buffers } = this.#views;
    if ((Atomics.load(header, MIDDLE) & UNSEEN) !== 0) {
      this.#front = Atomics.exchange(header, MIDDLE, this.#front) & INDEX;
    }
    const sequence = sequences[this.#front];
    if (sequence === 0) return null;
    return {
      image: { ...this.#size, data: buffers[this.#front] },
      sequence,
      capturedMs: this.#views.capturedMs[this.#front],
    };
  }

  /**
   * The newest picture, judged by its age; never waits.
   * @param nowMs The time on the clock that stamps the pictures, in ms.
   * @param maxAgeMs Oldest age that is still fresh, in ms.
   */
  check(nowMs: number, maxAgeMs: number): FrameOutcome {
    const frame = this.take();
    if (frame === null) return { kind: "none" };
    const ageMs = nowMs - frame.capturedMs;
    return { kind: ageMs <= maxAgeMs ? "fresh" : "stale", frame, ageMs };
  }

  /**
   * Wait for a picture that was not there yet.
   * @param seen Value of `frames` before.
   * @param timeoutMs Longest wait, in ms, 0 or more.
   * @returns Whether there is one.
   */
  async waitForNext(seen: number, timeoutMs: number): Promise<boolean> {
    const late = Promise.withResolvers<void>();
    // A timer of our own, because a process that waits for an atomic alone is taken for finished.
    const timer = setTimeout(() => late.resolve(), timeoutMs);
    try {
      const { value } = Atomics.waitAsync(this.#views.header, SEQUENCE, seen, timeoutMs);
      await Promise.race([value, late.promise]);
    } finally {
      clearTimeout(timer);
    }
    return this.frames !== seen;
  }
}
