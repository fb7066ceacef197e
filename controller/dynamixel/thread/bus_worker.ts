/**
 * The thread of one bus: messages in, messages out, and the loop between them.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { askForRealtime } from "../../threads/realtime.ts";
import { BusLoop } from "./bus_loop.ts";
import type { BusReply, BusRequest } from "./messages.ts";
import { failureOf } from "./servo_calls.ts";

/** The part of a dedicated worker's global scope that this module uses. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<BusRequest>) => void) | null;
  postMessage(reply: BusReply): void;
}

const scope = self as unknown as WorkerScope;
let loop: BusLoop | undefined;
let isStopping = false;

scope.onmessage = ({ data }) => {
  switch (data.kind) {
    case "open":
      return open(data);
    case "servo":
      return loop?.call(data);
    case "mode":
      return answer(data.call, (loop) => loop.setMode(data.mode));
    case "resetCounters":
      return answer(data.call, (loop) => loop.resetCounters());
    case "stop":
      isStopping = true;
      return;
    default:
      data satisfies never;
  }
};

function open({ setup }: BusRequest & { kind: "open" }): void {
  try {
    loop = new BusLoop(setup, (reply) => scope.postMessage(reply));
  } catch (error) {
    return scope.postMessage({ kind: "notOpened", failure: failureOf(error) });
  }
  const realtime = askForRealtime("bus").sentence;
  scope.postMessage({ kind: "opened", reason: loop.driverReason, realtime });
  void serve(loop);
}

/** Never rejects. */
async function serve(running: BusLoop): Promise<void> {
  try {
    using loop = running;
    while (!isStopping) await loop.turn(letMessagesIn);
  } catch (error) {
    return scope.postMessage({ kind: "crashed", message: failureOf(error).message });
  }
  scope.postMessage({ kind: "stopped" });
}

function letMessagesIn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function answer(call: number, order: (loop: BusLoop) => void): void {
  if (loop === undefined) return;
  try {
    order(loop);
    scope.postMessage({ kind: "done", call });
  } catch (error) {
    scope.postMessage({ kind: "failed", call, failure: failureOf(error) });
  }
}
