/**
 * Pictures from real cameras for a world: waiting for them, and putting them in place of a world's own.
 *
 * @module
 */

import type { Logger } from "../../../common/types.ts";
import type { CameraView } from "../../camera/camera_set.ts";
import type { EpisodeWorld } from "./episode_world.ts";

/** Longest wait at a time, so that an aborted signal is soon seen; in ms. */
const WAIT_SLICE_MS = 200;

/** What a world needs of cameras; a `CameraSet` is one. */
export interface PictureSource extends AsyncDisposable {
  /** What the cameras show now; never waits. */
  observe(): CameraView;
  /**
   * Wait until every camera has a fresh picture.
   *
   * @param timeoutMs Longest wait, in ms.
   * @returns Whether all have one.
   */
  waitUntilFresh(timeoutMs: number): Promise<boolean>;
}

/**
 * Wait until every camera has a fresh picture, as long as that may take: a camera that went away comes
 * back by itself. Says once what is missing.
 *
 * @param pictures The cameras.
 * @param logger Takes the line.
 * @param signal Ends the waiting.
 * @throws {unknown} The signal's reason, when it is aborted.
 */
export async function waitForPictures(
  pictures: PictureSource,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  for (let hasSaid = false;; hasSaid = true) {
    signal.throwIfAborted();
    if (await pictures.waitUntilFresh(WAIT_SLICE_MS)) return;
    const view = pictures.observe();
    if (view.kind === "unavailable" && !hasSaid) {
      logger.warn(`The episode waits for pictures: ${view.sentence}`);
    }
    // Closed cameras answer at once: without a pause this would spin.
    await pause(WAIT_SLICE_MS, signal);
  }
}

/**
 * A world whose pictures come from cameras, such as a simulated scene with ffmpeg's test sources.
 *
 * @param world Places objects and scores; its own pictures are not looked at.
 * @param pictures The cameras.
 * @param logger Takes a line when an episode waits for the cameras.
 * @returns The world, which owns both parts: dispose of it alone.
 */
export function withPictures(
  world: EpisodeWorld,
  pictures: PictureSource,
  logger: Logger,
): EpisodeWorld {
  return {
    prompt: world.prompt,
    async begin(seed, signal, measured) {
      await waitForPictures(pictures, logger, signal);
      await world.begin(seed, signal, measured);
    },
    onStep: (measured) => world.onStep(measured),
    observe: () => pictures.observe(),
    async [Symbol.asyncDispose]() {
      await using _world = world;
      await using _pictures = pictures;
    },
  };
}

/** Let some time pass, or less when the signal is aborted. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const onAbort = () => resolve();
  signal.addEventListener("abort", onAbort, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", onAbort);
}
