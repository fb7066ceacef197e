/**
 * What the controller and its camera thread say to each other.
 *
 * @module
 */

import type { CameraStatus } from "./camera.ts";
import type { CameraConfig } from "./camera_config.ts";
import type { FrameMemory } from "./latest_frame.ts";

/** To the thread. */
export type CameraRequest =
  /** Tell the time. */
  | { readonly kind: "ping"; readonly sentMs: number }
  /** Open the cameras. */
  | {
    readonly kind: "start";
    readonly cameras: readonly { readonly config: CameraConfig; readonly memory: FrameMemory }[];
    /** What to add to the thread's clock to get the controller's, in ms. */
    readonly clockOffsetMs: number;
    /** Seed of the jitter. */
    readonly seed: number;
    /** Program to call. */
    readonly ffmpeg: string;
  }
  /** Close the cameras. */
  | { readonly kind: "stop" };

/** From the thread. */
export type CameraReply =
  /** The time that was asked for, on the thread's clock, in ms. */
  | { readonly kind: "pong"; readonly sentMs: number; readonly threadMs: number }
  /** A camera has changed its state. */
  | { readonly kind: "status"; readonly status: CameraStatus }
  /** No camera is read, because what was asked for does not fit together. */
  | { readonly kind: "failed"; readonly sentence: string }
  /** All cameras are closed. */
  | { readonly kind: "stopped" };
