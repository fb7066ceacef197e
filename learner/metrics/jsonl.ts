/**
 * One JSON object a line, one line an update: the record that outlives everything else.
 *
 * Each line goes to the operating system in one call, so a killed process leaves whole lines only; a
 * machine that loses power may leave half a line at the end, which the next open cuts off.
 *
 * @module
 */
import type { Logger } from "../../common/types.ts";
import type { MetricsRecord, MetricsSink } from "./sink.ts";

const NEWLINE = 0x0a;
/** Read backwards in blocks of this many bytes when looking for the last whole line. */
const BLOCK_BYTES = 65_536;

/** Options of {@link JsonlSink}. */
export interface JsonlSinkOptions {
  /** Takes warnings. */
  readonly logger: Logger;
  /** The time of a record in milliseconds since 1970; default `Date.now`. */
  readonly nowMs?: () => number;
}

/** Appends records to a JSONL file. */
export class JsonlSink implements MetricsSink {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #nowMs: () => number;
  readonly #encoder = new TextEncoder();
  #file: Deno.FsFile | null;

  /**
   * Open or create the file, whose folder must exist, and cut off a partial last line.
   * @param path The file.
   * @param options Logger and clock.
   * @throws {Error} If it cannot be opened for writing.
   */
  constructor(path: string, options: JsonlSinkOptions) {
    this.#path = path;
    this.#logger = options.logger;
    this.#nowMs = options.nowMs ?? Date.now;
    try {
      this.#file = Deno.openSync(path, { read: true, write: true, create: true });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`Cannot open the metrics file ${path}: ${reason}`, { cause: error });
    }
    const cutBytes = cutPartialLine(this.#file);
    if (cutBytes > 0) {
      this.#logger.warn(`Cut ${cutBytes} bytes of an unfinished last line off ${path}`);
    }
  }

  /**
   * Append one line: `step`, `time` (ISO 8601) and the record.
   * @param step Number of the update.
   * @param record Its numbers.
   */
  log(step: number, record: MetricsRecord): void {
    if (this.#file === null) {
      this.#logger.warn(`Cannot write step ${step} to ${this.#path}: the sink is closed`);
      return;
    }
    const time = new Date(this.#nowMs()).toISOString();
    const line = this.#encoder.encode(JSON.stringify({ step, time, ...record }) + "\n");
    try {
      this.#append(this.#file, line);
    } catch (error) {
      const reason = error instanceof Error ? error.message : error;
      this.#logger.warn(`Cannot write step ${step} to ${this.#path}: ${reason}`);
    }
  }

  /** Flush the file to the disk and close it. A second call does nothing. */
  close(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    if (file === null) return Promise.resolve();
    try {
      file.syncSync();
    } catch (error) {
      const reason = error instanceof Error ? error.message : error;
      this.#logger.warn(`Cannot flush ${this.#path}: ${reason}`);
    }
    file.close();
    return Promise.resolve();
  }

  #append(file: Deno.FsFile, line: Uint8Array): void {
    const start = file.seekSync(0, Deno.SeekMode.End);
    try {
      // One call writes all of it, save on a full disk.
      for (let at = 0; at < line.length;) at += file.writeSync(line.subarray(at));
    } catch (error) {
      file.truncateSync(start);
      throw error;
    }
  }
}

function cutPartialLine(file: Deno.FsFile): number {
  const size = file.seekSync(0, Deno.SeekMode.End);
  const block = new Uint8Array(BLOCK_BYTES);
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - BLOCK_BYTES);
    file.seekSync(start, Deno.SeekMode.Start);
    let length = 0;
    while (length < end - start) {
      const read = file.readSync(block.subarray(length, end - start));
      if (read === null) break;
      length += read;
    }
    const newline = block.subarray(0, length).lastIndexOf(NEWLINE);
    if (newline >= 0) {
      const kept = start + newline + 1;
      if (kept < size) file.truncateSync(kept);
      return size - kept;
    }
    end = start;
  }
  if (size > 0) file.truncateSync(0);
  return size;
}
