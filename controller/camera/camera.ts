/**
 * One camera: an ffmpeg that is kept running whatever happens to it.
 *
 * The camera starts ffmpeg, cuts what it writes into pictures, and starts it again, after growing
 * pauses, when it ends, when it sends nothing for too long, or when it sends something else.
 *
 * @module
 */

import type { CameraName } from "../../common/types.ts";
import { backoffMs, type Pause, pause } from "./backoff.ts";
import type { CameraConfig } from "./camera_config.ts";
import { describeFailure, describeStartFailure, lastLineOf } from "./camera_failure.ts";
import { CaptureClock } from "./capture_clock.ts";
import { ffmpegArguments } from "./ffmpeg_arguments.ts";
import { FrameReader } from "./frame_reader.ts";
import type { FrameWriter } from "./latest_frame.ts";

/** Where a camera stands. `running` begins with the first picture; `stopped` is final. */
export type CameraState = "starting" | "running" | "failed" | "stopped";

/** What is known about a camera; plain data. */
export interface CameraStatus {
  /** Which camera. */
  readonly name: CameraName;
  /** Where it stands. */
  readonly state: CameraState;
  /** Process id of its ffmpeg; null when there is none. */
  readonly pid: number | null;
  /** Pictures published since the start. */
  readonly frames: number;
  /** Times that ffmpeg was started after the first. */
  readonly restarts: number;
  /** Pictures that ended before their last byte. */
  readonly partialFrames: number;
  /** One sentence about the latest failure; null before the first and while running. */
  readonly failure: string | null;
}

/** What a {@link Camera} needs. */
export interface CameraOptions {
  /** Its settings. */
  readonly config: CameraConfig;
  /** Receives its pictures; of the size in the settings. */
  readonly writer: FrameWriter;
  /** Uniform numbers in [0, 1) from a seeded generator, for the jitter of the pauses. */
  readonly random: () => number;
  /** Tells the time that pictures are stamped with, in ms; must never go back. */
  readonly now: () => number;
  /** Called after each change of state. */
  readonly onChange?: (status: CameraStatus) => void;
  /** How to wait between attempts; by a timer unless a test wants otherwise. */
  readonly pause?: Pause;
  /** Program to call; default `ffmpeg`. */
  readonly ffmpeg?: string;
}

/** A camera that is kept open until it is disposed of. */
export class Camera implements AsyncDisposable {
  readonly #options: CameraOptions;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #state: CameraState = "starting";
  #pid: number | null = null;
  #restarts = 0;
  #partialFrames = 0;
  #failure: string | null = null;
  #failuresInARow = 0;

  /**
   * Open a camera. Nothing is thrown where it cannot be opened: it goes on trying.
   * @param options What it needs. The caller must dispose of the camera.
   * @throws {RangeError} The writer's pictures have another size than the settings say.
   */
  constructor(options: CameraOptions) {
    const { config: { name, width, height }, writer: { size } } = options;
    if (size.width !== width || size.height !== height) {
      throw new RangeError(
        `Cannot open ${name}: its pictures have ${width}×${height} pixels, but the memory is for ` +
          `${size.width}×${size.height}`,
      );
    }
    this.#options = options;
    this.#done = this.#keepOpen();
  }

  /** Where it stands and what it has done. */
  status(): CameraStatus {
    return {
      name: this.#options.config.name,
      state: this.#state,
      pid: this.#pid,
      frames: this.#options.writer.frames,
      restarts: this.#restarts,
      partialFrames: this.#partialFrames,
      failure: this.#failure,
    };
  }

  /** Kill ffmpeg and wait until it is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #keepOpen(): Promise<void> {
    const { random, pause: wait = pause } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const failure = await this.#runOnce();
      if (signal.aborted) break;
      this.#failuresInARow++;
      this.#failure = failure;
      this.#enter("failed");
      await wait(backoffMs(this.#failuresInARow, random), signal);
      if (signal.aborted) break;
      this.#restarts++;
      this.#enter("starting");
    }
    this.#enter("stopped");
  }

  /** Start ffmpeg once and read it to its end. Returns why it ended, in one sentence. */
  async #runOnce(): Promise<string> {
    const { config, ffmpeg = "ffmpeg" } = this.#options;
    let child: Deno.ChildProcess;
    try {
      child = new Deno.Command(ffmpeg, {
        args: ffmpegArguments(config),
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
        // The terminal's Ctrl-C is for the controller, which closes the cameras after the arms rest.
        // If the controller is killed, ffmpeg ends at its next picture: nobody reads its pipe.
        detached: true,
      }).spawn();
    } catch (error) {
      return describeStartFailure(config, ffmpeg, error);
    }
    this.#pid = child.pid;
    const lastLine = lastLineOf(child.stderr);
    const fault = await this.#read(child);
    const [line, { code, signal }] = await Promise.all([lastLine, child.status]);
    this.#pid = null;
    const ending = signal === null ? `with exit code ${code}` : `by ${signal}`;
    return describeFailure(config, fault ?? `ffmpeg ended ${ending}`, line);
  }

  /** Read pictures until the stream ends. Kills ffmpeg; returns what was wrong, if not its end. */
  async #read(child: Deno.ChildProcess): Promise<string | null> {
    const { config: { silenceMs, rateHz }, writer, now } = this.#options;
    const reader = new FrameReader(writer, new CaptureClock(rateHz));
    const framesBefore = writer.frames;
    let fault: string | null = null;
    const kill = () => {
      try {
        child.kill("SIGKILL"); // there is nothing to save, and a stopped process heeds nothing else
      } catch {
        // It has ended by itself.
      }
    };
    const bark = () => {
      fault = `no picture came for ${silenceMs / 1000} s`;
      kill();
    };
    let watchdog = setTimeout(bark, silenceMs);
    this.#stop.signal.addEventListener("abort", kill);
    if (this.#stop.signal.aborted) kill();
    try {
      for await (const chunk of child.stdout) {
        const before = writer.frames;
        reader.push(chunk, now());
        if (writer.frames === before) continue;
        clearTimeout(watchdog);
        watchdog = setTimeout(bark, silenceMs);
        if (this.#state === "starting") {
          this.#failure = null;
          this.#enter("running");
        }
        // A second of pictures: it works again. Less could be a device that dies at once each time.
        if (writer.frames - framesBefore >= rateHz) this.#failuresInARow = 0;
      }
    } catch (error) {
      fault ??= error instanceof Error ? error.message : String(error);
    } finally {
      clearTimeout(watchdog);
      this.#stop.signal.removeEventListener("abort", kill);
      kill();
    }
    if (reader.isPartial) this.#partialFrames++;
    return fault;
  }

  #enter(state: CameraState): void {
    this.#state = state;
    this.#options.onChange?.(this.status());
  }
}
