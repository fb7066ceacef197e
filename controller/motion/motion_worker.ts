/**
 * The motion thread: sleeps until a deadline, runs a cycle, and so on until it is told to end.
 *
 * It blocks its thread on purpose: waking by a timer of the event loop is ten times less exact.
 *
 * @module
 */

import { sharedNowMs } from "../threads/clock.ts";
import { askForRealtime } from "../threads/realtime.ts";
import { MotionCycle } from "./motion_cycle.ts";
import type { MotionReply, MotionRequest } from "./motion_messages.ts";
import { warmUp } from "./warm_up.ts";

/** The part of a dedicated worker's global scope that this module uses. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<MotionRequest>) => void) | null;
  postMessage(reply: MotionReply): void;
}

const scope = self as unknown as WorkerScope;

function runUntilEnd({ setup, end }: MotionRequest): void {
  // What comes of it, the buses' threads tell.
  askForRealtime("motion");
  warmUp(setup);
  const word = new Int32Array(end);
  const cycle = new MotionCycle(setup, sharedNowMs());
  while (Atomics.load(word, 0) === 0) {
    const waitMs = cycle.nextMs - sharedNowMs();
    if (waitMs > 0) Atomics.wait(word, 0, 0, waitMs);
    cycle.run(sharedNowMs());
  }
}

scope.onmessage = ({ data }) => {
  try {
    runUntilEnd(data);
    scope.postMessage({ kind: "ended" });
  } catch (error) {
    const sentence = error instanceof Error ? error.message : String(error);
    scope.postMessage({ kind: "failed", sentence });
  }
};
