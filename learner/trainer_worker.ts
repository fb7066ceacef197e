/**
 * The training thread: holds the policy and its optimiser, so that gradient steps never keep the
 * learner's servers waiting.
 * @module
 */

import { useDevice } from "../common/policy/backend.ts";
import type { TrainerReply, TrainerRequest } from "./trainer_messages.ts";
import { TrainingSession } from "./training_session.ts";

/** The part of a dedicated worker's global scope that this module uses. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<TrainerRequest>) => void) | null;
  postMessage(reply: TrainerReply): void;
}

let opened: TrainingSession | undefined;

async function answer(request: TrainerRequest): Promise<TrainerReply> {
  if (request.kind === "start") {
    const { backend, reason } = await useDevice(request.config.device);
    opened = await TrainingSession.open(request);
    return { kind: "ready", ...await opened.describe(`${backend} (${reason})`) };
  }
  if (!opened) throw new Error("The training thread has no policy yet");
  switch (request.kind) {
    case "update":
      return { kind: "updated", ...await opened.update(request) };
    case "rate":
      return { kind: "rated", newness: await opened.rateNewness(request.observations) };
    case "optimizer":
      return { kind: "optimizer", ...await opened.optimizer() };
    default:
      throw request satisfies never;
  }
}

const scope = self as unknown as WorkerScope;
// One request at a time: the main thread waits for each answer.
scope.onmessage = async (event) => {
  try {
    scope.postMessage(await answer(event.data));
  } catch (error) {
    scope.postMessage({
      kind: "failed",
      sentence: error instanceof Error ? error.message : String(error),
    });
  }
};
