/**
 * What the tests of the worlds share: cameras that come and go, and a logger that can be waited for.
 *
 * @module
 */

import type { Logger } from "../../../common/types.ts";
import type { CameraView } from "../../camera/camera_set.ts";
import type { PictureSource } from "./pictures.ts";

/** Cameras that a test switches on and off. */
export class SwitchedPictures implements PictureSource {
  /** Whether there are pictures now. */
  areFresh = true;
  /** Whether the cameras were disposed of. */
  isClosed = false;
  #onFresh = Promise.withResolvers<void>();

  /** Switch the pictures on and wake whoever waits for them. */
  switchOn(): void {
    this.areFresh = true;
    this.#onFresh.resolve();
    this.#onFresh = Promise.withResolvers();
  }

  /** Black pictures of one pixel, captured at 1, 2 and 3 ms. */
  observe(): CameraView {
    if (!this.areFresh) {
      return { kind: "unavailable", cameras: ["cam_high"], sentence: "cam_high is gone" };
    }
    const image = { width: 1, height: 1, data: new Uint8Array(3) };
    return {
      kind: "pictures",
      images: { cam_high: image, cam_left_wrist: image, cam_right_wrist: image },
      capturedMs: { cam_high: 1, cam_left_wrist: 2, cam_right_wrist: 3 },
    };
  }

  /** Wait for {@link switchOn}. */
  async waitUntilFresh(timeoutMs: number): Promise<boolean> {
    if (this.areFresh) return true;
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, timeoutMs);
    await Promise.race([this.#onFresh.promise, timeout.promise]);
    clearTimeout(timer);
    return this.areFresh;
  }

  /** Remember it. */
  [Symbol.asyncDispose](): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
}

/** A logger that keeps its lines. */
export interface Lines extends Logger {
  /** All lines so far. */
  readonly all: readonly string[];
  /** Wait for a line; one wait at a time. */
  until(pattern: RegExp): Promise<void>;
}

/** A logger whose lines can be waited for. */
export function lines(): Lines {
  const all: string[] = [];
  let check = () => {};
  const take = (message: string) => {
    all.push(message);
    check();
  };
  const until = (pattern: RegExp) =>
    new Promise<void>((resolve) => {
      check = () => all.some((line) => pattern.test(line)) && resolve();
      check();
    });
  return { info: take, warn: take, error: take, all, until };
}
