/**
 * The cameras of a robot: pictures for an observation, or the sentence why there are none.
 *
 * A thread of its own reads them (see camera_worker.ts). Pictures come through shared memory, so
 * looking at the newest ones never waits for that thread.
 *
 * @module
 */

import { resizeWithPad } from "../../common/policy/image_resize.ts";
import type { CameraName, Logger, Observation, RgbImage } from "../../common/types.ts";
import type { CameraStatus } from "./camera.ts";
import { type CameraConfig, describeSource, parseCameraConfigs } from "./camera_config.ts";
import { type CameraThread, openCameraThread } from "./camera_thread.ts";
import { createFrameMemory, type FrameOutcome, LatestFrame } from "./latest_frame.ts";

/** Longest single wait of `waitUntilFresh`, so that it sees soon that the set was closed; in ms. */
const WAIT_SLICE_MS = 250;

/** What a {@link CameraSet} needs. */
export interface CameraSetOptions {
  /** Settings of each camera that the policy sees, as `parseCameraConfigs` takes them. */
  readonly cameras: readonly unknown[];
  /** Side of the policy's square pictures, in pixels. */
  readonly side: number;
  /** Seed of the jitter between attempts to open a camera; an integer. */
  readonly seed: number;
  /** Takes lines about cameras that go and come back. */
  readonly logger: Logger;
  /** The controller's clock in ms, one that never goes back; default `performance.now`. */
  readonly now?: () => number;
  /** Program to call; default `ffmpeg`. */
  readonly ffmpeg?: string;
}

/** What the cameras show. */
export type CameraView =
  | {
    readonly kind: "pictures";
    /** Resized as the policy wants; the caller's own. */
    readonly images: Observation["images"];
    /** When each was captured, in ms of the controller's clock; see `CapturedFrame`. */
    readonly capturedMs: Readonly<Record<CameraName, number>>;
  }
  | {
    readonly kind: "unavailable";
    /** The cameras without a fresh picture. */
    readonly cameras: readonly CameraName[];
    /** Which, since when, and why, for people. */
    readonly sentence: string;
  };

/** How one camera does. */
export interface CameraReport extends CameraStatus {
  /** Age of the newest picture in ms; null before the first. */
  readonly ageMs: number | null;
  /** Pictures that a newer one replaced before anybody looked. */
  readonly dropped: number;
}

interface Slot {
  readonly config: CameraConfig;
  readonly latest: LatestFrame;
  status: CameraStatus;
}

/** Open cameras and the thread that reads them. */
export class CameraSet implements AsyncDisposable {
  readonly #slots: readonly Slot[];
  readonly #options: CameraSetOptions;
  readonly #now: () => number;
  readonly #startedMs: number;
  #thread: CameraThread | null = null;
  #threadFailure: string | null = null;

  /**
   * Start the thread and open the cameras. A camera that cannot be opened is no error here: it is
   * tried again, and {@link observe} says so.
   *
   * @param options What the set needs. The caller must dispose of the set.
   * @returns The set; wait for its first pictures with {@link waitUntilFresh}.
   * @throws {RangeError} A setting is wrong.
   * @throws {Error} The thread does not start.
   */
  static async open(options: CameraSetOptions): Promise<CameraSet> {
    const configs = parseCameraConfigs(options.cameras);
    const { side, seed, ffmpeg = "ffmpeg" } = options;
    for (const [name, value, min] of [["side", side, 1], ["seed", seed, -Infinity]] as const) {
      if (Number.isSafeInteger(value) && value >= min) continue;
      const wanted = min === 1 ? "an integer of 1 or more" : "an integer";
      throw new RangeError(`Cannot open cameras: ${name} is ${value}, expected ${wanted}`);
    }
    const cameras = configs.map((config) => ({ config, memory: createFrameMemory(config) }));
    const slots = cameras.map(({ config, memory }) => ({
      config,
      latest: new LatestFrame(memory),
      status: startingStatus(config.name),
    }));
    const set = new CameraSet(options, slots);
    set.#thread = await openCameraThread({
      now: set.#now,
      onStatus: (status) => set.#update(status),
      onFailure: (sentence) => {
        set.#threadFailure = sentence;
        options.logger.error(`No camera is read: ${sentence}; start the controller anew`);
      },
    });
    set.#thread.start({ cameras, seed, ffmpeg });
    return set;
  }

  private constructor(options: CameraSetOptions, slots: readonly Slot[]) {
    this.#options = options;
    this.#slots = slots;
    this.#now = options.now ?? (() => performance.now());
    this.#startedMs = this.#now();
  }

  /**
   * What the cameras show now; never waits.
   *
   * @returns Pictures of the policy's size, or which cameras have none that is fresh.
   */
  observe(): CameraView {
    const nowMs = this.#now();
    const images: Partial<Record<CameraName, RgbImage>> = {};
    const capturedMs: Partial<Record<CameraName, number>> = {};
    const missing: CameraName[] = [];
    const sentences: string[] = [];
    const seen = this.#slots.map((slot) => ({ slot, outcome: check(slot, nowMs) }));
    const areAllFresh = seen.every(({ outcome }) => outcome.kind === "fresh");
    for (const { slot, outcome } of seen) {
      const { name } = slot.config;
      if (outcome.kind !== "fresh") {
        missing.push(name);
        sentences.push(this.#describe(slot, outcome, nowMs));
      } else if (areAllFresh) {
        images[name] = this.#fit(outcome.frame.image);
        capturedMs[name] = outcome.frame.capturedMs;
      }
    }
    if (!areAllFresh) {
      return { kind: "unavailable", cameras: missing, sentence: sentences.join("; ") };
    }
    return {
      kind: "pictures",
      images: images as Record<CameraName, RgbImage>,
      capturedMs: capturedMs as Record<CameraName, number>,
    };
  }

  /**
   * Whether a camera has no fresh picture. Looks at no pixel, so it may be asked in every cycle.
   *
   * @returns Which, since when, and why, for people; null when all are fresh.
   */
  staleness(): string | null {
    const nowMs = this.#now();
    const sentences = this.#slots.flatMap((slot) => {
      const outcome = check(slot, nowMs);
      return outcome.kind === "fresh" ? [] : [this.#describe(slot, outcome, nowMs)];
    });
    return sentences.length === 0 ? null : sentences.join("; ");
  }

  /** How each camera does, in the order of `CAMERA_NAMES`. */
  report(): readonly CameraReport[] {
    const nowMs = this.#now();
    return this.#slots.map((slot) => {
      const outcome = check(slot, nowMs);
      return {
        ...slot.status,
        frames: slot.latest.frames,
        dropped: slot.latest.dropped,
        ageMs: outcome.kind === "none" ? null : outcome.ageMs,
      };
    });
  }

  /**
   * Wait until every camera has a fresh picture, as after opening or an outage.
   *
   * @param timeoutMs Longest wait, in ms.
   * @returns Whether all have one; if not, {@link observe} says which lack one. False once closed.
   */
  async waitUntilFresh(timeoutMs: number): Promise<boolean> {
    const endMs = performance.now() + timeoutMs;
    while (true) {
      if (this.#thread === null) return false;
      const waiting = this.#slots.find((slot) => check(slot, this.#now()).kind !== "fresh");
      if (waiting === undefined) return true;
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) return false;
      const { latest } = waiting;
      await latest.waitForNext(latest.frames, Math.min(leftMs, WAIT_SLICE_MS));
    }
  }

  /** Close the cameras and end the thread; afterwards no ffmpeg is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    const thread = this.#thread;
    this.#thread = null;
    if (thread === null || await thread.close()) return;
    this.#options.logger.warn("The camera thread did not close its cameras in time; it was ended");
  }

  #update(status: CameraStatus): void {
    const slot = this.#slots.find(({ config }) => config.name === status.name);
    if (slot === undefined) return;
    const { failure } = slot.status;
    slot.status = status;
    const { logger } = this.#options;
    // One line an outage, not one an attempt.
    if (status.failure !== null && failure === null) {
      logger.warn(`Camera ${status.failure}; it is opened again until it is back`);
    } else if (status.state === "running") {
      logger.info(`Camera ${status.name} is ${failure === null ? "open" : "back"}`);
    }
  }

  #describe({ config, status }: Slot, outcome: FrameOutcome, nowMs: number): string {
    const silentMs = outcome.kind === "none" ? nowMs - this.#startedMs : outcome.ageMs;
    const why = this.#threadFailure ?? status.failure;
    return `${config.name} (${describeSource(config.source)}) has sent no picture for ` +
      `${(silentMs / 1000).toFixed(1)} s` + (why === null ? "" : `: ${why}`);
  }

  /** Of the policy's size, and no longer in the buffer that the next picture may overwrite. */
  #fit(image: RgbImage): RgbImage {
    const { side } = this.#options;
    const fitted = resizeWithPad(image, side, side);
    return fitted === image ? { ...image, data: Uint8Array.from(image.data) } : fitted;
  }
}

function check({ latest, config }: Slot, nowMs: number): FrameOutcome {
  return latest.check(nowMs, config.maxAgeMs);
}

function startingStatus(name: CameraName): CameraStatus {
  const counts = { frames: 0, restarts: 0, partialFrames: 0 };
  return { name, state: "starting", pid: null, ...counts, failure: null };
}
