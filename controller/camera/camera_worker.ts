/**
 * The thread that reads the cameras, so that a policy that computes does not keep pictures waiting.
 *
 * @module
 */

import { seededRandom } from "../../common/random.ts";
import { Camera } from "./camera.ts";
import type { CameraReply, CameraRequest } from "./camera_messages.ts";
import { FrameWriter } from "./latest_frame.ts";

/** The part of a dedicated worker's global scope that this module uses. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<CameraRequest>) => void) | null;
  postMessage(reply: CameraReply): void;
}

const scope = self as unknown as WorkerScope;
const cameras: Camera[] = [];

function start(request: CameraRequest & { kind: "start" }): void {
  const { clockOffsetMs, seed, ffmpeg } = request;
  const random = seededRandom(seed);
  for (const { config, memory } of request.cameras) {
    cameras.push(
      new Camera({
        config,
        writer: new FrameWriter(memory),
        random,
        now: () => performance.now() + clockOffsetMs,
        onChange: (status) => scope.postMessage({ kind: "status", status }),
        ffmpeg,
      }),
    );
  }
}

async function stop(): Promise<void> {
  await Promise.all(cameras.map((camera) => camera[Symbol.asyncDispose]()));
  scope.postMessage({ kind: "stopped" });
}

scope.onmessage = ({ data }) => {
  switch (data.kind) {
    case "ping":
      return scope.postMessage({ ...data, kind: "pong", threadMs: performance.now() });
    case "start":
      try {
        return start(data);
      } catch (error) {
        const sentence = error instanceof Error ? error.message : String(error);
        return scope.postMessage({ kind: "failed", sentence });
      }
    case "stop":
      return void stop();
    default:
      data satisfies never;
  }
};
