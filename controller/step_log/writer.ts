/**
 * Writes a step log. Adding a cycle copies 200 bytes; the disk is written to in the background, 64 KiB
 * at a time, so that a slow disk never holds up the thread that drives arms.
 *
 * @module
 */

import { sharedNowMs } from "../threads/clock.ts";
import { encodeCycle } from "./cycle_codec.ts";
import { encodeHeader, type StepLogHeader } from "./header.ts";
import { CYCLE, ENTRY_TAG, EVENT, EVENT_KINDS, type EventKind, MAX_EVENT_BYTES } from "./layout.ts";

/** Bytes that are gathered before the disk is written to. */
const BLOCK_BYTES = 65536;

/** Bytes that may wait for a slow disk: 6 minutes at 200 Hz, 27 at 50 Hz. What comes then is dropped. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024;

/** Kinds that are written to the disk at once: what comes next may be a power switch. */
const URGENT: readonly EventKind[] = ["stop", "fault"];

/** Where a log goes: a file, in all but tests. */
export interface LogSink {
  /** Write some of the bytes, 1 or more, and say how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Let go of it. */
  close(): void;
}

/** A log that is being written. Owner of its file. Create it with {@link StepLogWriter.open}. */
export class StepLogWriter implements AsyncDisposable {
  /** Where the log is. */
  readonly path: string;
  readonly #file: LogSink;
  readonly #startMs: number;
  #block = new Uint8Array(BLOCK_BYTES);
  #view = new DataView(this.#block.buffer);
  #used = 0;
  #timeUs = 0;
  #writing: Promise<void> = Promise.resolve();
  #waitingBytes = 0;
  #cycles = 0;
  #dropped = 0;
  #failure: Error | null = null;
  #isClosed = false;

  private constructor(path: string, file: LogSink, startMs: number) {
    this.path = path;
    this.#file = file;
    this.#startMs = startMs;
  }

  /**
   * Begin a log. Its header is on the disk when this returns.
   *
   * @param path A file that does not exist yet.
   * @param header What the log is of.
   * @throws {Deno.errors.AlreadyExists} There is such a file.
   * @throws {RangeError} A field of the header is out of range.
   */
  static async open(path: string, header: StepLogHeader): Promise<StepLogWriter> {
    // A header that is refused leaves no empty file behind.
    encodeHeader(header);
    const file = await Deno.open(path, { write: true, createNew: true });
    return await StepLogWriter.over(file, path, header);
  }

  /**
   * Begin a log on something that is open already.
   *
   * @param sink Where it goes; the writer owns it from now on.
   * @param path Its name, for messages.
   * @param header What the log is of.
   * @throws {RangeError} A field of the header is out of range.
   */
  static async over(sink: LogSink, path: string, header: StepLogHeader): Promise<StepLogWriter> {
    try {
      await writeAll(sink, encodeHeader(header));
    } catch (error) {
      sink.close();
      throw error;
    }
    return new StepLogWriter(path, sink, header.startMs);
  }

  /** Cycles that were taken. */
  get cycles(): number {
    return this.#cycles;
  }

  /** Cycles and events that were dropped, because the disk was too slow or failed. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Why the disk could not be written to; null while it can. Nothing is written after a failure. */
  get failure(): Error | null {
    return this.#failure;
  }

  /**
   * Take one cycle. Never throws on account of the disk: see {@link StepLogWriter.failure}.
   *
   * @param record `MOTION_RECORD`; it is copied.
   */
  add(record: Float64Array): void {
    if (!this.#reserve(CYCLE.bytes)) return;
    this.#timeUs = encodeCycle(record, this.#timeUs, this.#startMs, this.#view, this.#used);
    this.#used += CYCLE.bytes;
    this.#cycles++;
  }

  /**
   * Take an event. A `stop` or a `fault` is written to the disk at once.
   *
   * @param kind What it is about.
   * @param text One sentence; cut off after {@link MAX_EVENT_BYTES} bytes.
   * @param timeMs When it was, in ms since 1970; now by default.
   */
  event(kind: EventKind, text: string, timeMs: number = sharedNowMs()): void {
    // Cut by whole characters: `encodeInto` never splits one.
    const bytes = new Uint8Array(MAX_EVENT_BYTES);
    const { written } = new TextEncoder().encodeInto(text, bytes);
    if (!this.#reserve(EVENT.text + written)) return;
    const at = this.#used;
    this.#view.setUint8(at, ENTRY_TAG.event);
    this.#view.setUint8(at + EVENT.kind, EVENT_KINDS.indexOf(kind));
    this.#view.setUint16(at + EVENT.length, written, true);
    this.#view.setFloat64(at + EVENT.timeMs, timeMs, true);
    this.#block.set(bytes.subarray(0, written), at + EVENT.text);
    this.#used += EVENT.text + written;
    if (URGENT.includes(kind)) this.#passOn();
  }

  /**
   * Write everything that was taken so far to the file.
   *
   * @throws {Error} The file cannot be written to.
   */
  async flush(): Promise<void> {
    this.#passOn();
    await this.#writing;
    if (this.#failure !== null) throw this.#failure;
  }

  /** Write what is left and close the file. What is added afterwards is dropped. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#passOn();
    this.#isClosed = true;
    await this.#writing;
    this.#file.close();
  }

  /** Make room in the block; false, and counted, if the entry must be dropped. */
  #reserve(bytes: number): boolean {
    if (this.#isClosed || this.#failure !== null) {
      this.#dropped++;
      return false;
    }
    if (this.#used + bytes > BLOCK_BYTES) {
      if (this.#waitingBytes >= MAX_WAITING_BYTES) {
        this.#dropped++;
        return false;
      }
      this.#passOn();
    }
    return true;
  }

  /** Hand the block to the disk and begin another. */
  #passOn(): void {
    if (this.#used === 0 || this.#isClosed) return;
    const block = this.#block.subarray(0, this.#used);
    this.#block = new Uint8Array(BLOCK_BYTES);
    this.#view = new DataView(this.#block.buffer);
    this.#used = 0;
    this.#waitingBytes += block.length;
    this.#writing = this.#writing.then(async () => {
      try {
        if (this.#failure === null) await writeAll(this.#file, block);
      } catch (cause) {
        this.#failure = new Error(
          `Cannot write the step log ${this.path}: ${(cause as Error).message}`,
          { cause },
        );
      } finally {
        this.#waitingBytes -= block.length;
      }
    });
  }
}

async function writeAll(file: LogSink, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}
