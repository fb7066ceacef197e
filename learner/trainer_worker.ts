/**
 * The training thread: holds the policy and its optimiser, so that gradient steps never keep the
 * learner's servers waiting.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Config } from "../common/config/config.ts";
import { useDevice } from "../common/policy/backend.ts";
import {
  type CriticOptions,
  type LoadedPolicy,
  loadPolicy,
  policySignature,
  readWeights,
} from "../common/policy/load.ts";
import { loadFailurePolicy } from "../common/policy/load_failure.ts";
import { loadOrRandom } from "../common/policy/load_or_random.ts";
import { normal, seededRandom } from "../common/random.ts";
import { PpoTrainer } from "./ppo/update.ts";
import type { TrainerReply, TrainerRequest } from "./trainer_messages.ts";

/** The part of a dedicated worker's global scope that this module uses. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<TrainerRequest>) => void) | null;
  postMessage(reply: TrainerReply): void;
}

let loaded: LoadedPolicy | undefined;
let trainer: PpoTrainer | undefined;
let seed = 0;

async function answer(request: TrainerRequest): Promise<TrainerReply> {
  switch (request.kind) {
    case "start":
      return { kind: "ready", ...await start(request) };
    case "update": {
      if (!loaded || !trainer) throw new Error("The training thread has no policy yet");
      const random = seededRandom(seed + 1_000_003 * request.update);
      trainer.adam.learningRateScale = request.learningRateScale;
      const metrics = await trainer.update(request.estimates, random, request.policyVersion);
      const weights = await readWeights(loaded.policy);
      return { kind: "updated", metrics, weights, tensors: tf.memory().numTensors };
    }
    case "optimizer": {
      if (!trainer) throw new Error("The training thread has no policy yet");
      const { adam } = trainer;
      return { kind: "optimizer", tensors: await adam.toHost(), steps: adam.steps };
    }
    default:
      throw request satisfies never;
  }
}

async function start({ checkpoint, reference, config }: TrainerRequest & { kind: "start" }) {
  const { backend, reason } = await useDevice(config.device);
  seed = config.seed;
  const random = seededRandom(config.seed);
  const critic: CriticOptions & Config = { ...config, normal: () => normal(random) };
  // A resumed run goes on with its own weights or not at all. There are only simulated robots yet.
  const onFailure = config.resume ? "abort" : loadFailurePolicy("simulated", config.onLoadFailure);
  loaded = await loadOrRandom(checkpoint, critic, onFailure);
  const anchor = config.klWeight > 0 ? await loadPolicy(reference, critic) : undefined;
  trainer = new PpoTrainer(loaded.policy, config, anchor?.policy);
  const { optimizer, metadata } = loaded.checkpoint;
  // A new run has settings of its own, and may train other weights than the one before.
  if (optimizer && config.resume) trainer.adam.restore(optimizer, metadata.training.optimizerSteps);
  const { shape } = loaded.policy;
  return {
    signature: policySignature(loaded.policy, config.temperature),
    weights: await readWeights(loaded.policy),
    model: {
      variant: metadata.model.variant,
      actionDim: shape.actionDim,
      horizon: shape.horizon,
      maxTokenLen: shape.maxTokenLen,
      dialect: loaded.policy.dialect.name,
      decodePositions: shape.variant.decodePositions,
      adaptToPi: shape.adaptToPi ?? false,
      actionMode: shape.actionMode ?? "delta",
      ...(shape.normalization && { normalization: shape.normalization }),
      valueHeadHiddenDim: shape.valueHeadHiddenDim,
      maxValueSteps: shape.maxValueSteps,
      valueInput: shape.valueInput,
    },
    notes: loaded.notes,
    initialization: loaded.initialization,
    device: `${backend} (${reason})`,
  };
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
