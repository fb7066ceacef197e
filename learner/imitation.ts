/**
 * Imitation: next-token cross-entropy on demonstrated chunks, as openpi trains π0-FAST.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Scalar } from "../common/policy/tensors.ts";
import { ActorCritic } from "../common/policy/actor_critic.ts";
import { postfixLosses, postfixStates } from "../common/policy/network.ts";
import { buildPostfix } from "../common/tokenizer/prompt.ts";
import type { Observation } from "../common/types.ts";
import { yieldToEventLoop } from "../common/yield_to_event_loop.ts";
import { clippedGradients } from "./ppo/gradients.ts";
import { SceneQuestion } from "./scene_question.ts";

/** One tokenised example. */
export interface ImitationExample {
  /** What the policy sees. */
  readonly observation: Observation;
  /** FAST ids of the demonstrated chunk. */
  readonly tokens: Int32Array;
  /** Where things are, about as large as 1: the answer to {@link SceneQuestion}, if it is asked. */
  readonly scene?: Float32Array;
}

/**
 * Cross-entropy of the postfix (`Action: `, FAST tokens, `|`, EOS), in nats a token: the mean over
 * all postfix tokens of the batch. Call inside a gradient function or `tf.tidy`.
 * @param asked A question beside it: its loss is added, times a weight.
 */
export function imitationLoss(
  policy: ActorCritic,
  examples: readonly ImitationExample[],
  asked?: { readonly question: SceneQuestion; readonly weight: number },
): Scalar {
  const { network, assets } = policy;
  const { gemma, fastSkipTokens } = network.variant;
  const mapping = { vocabSize: gemma.vocab, fastSkipTokens, fastVocabSize: network.fastVocab };
  const postfix = examples.map((e) => buildPostfix(assets.language, e.tokens, mapping));
  const input = policy.prepareInput(examples.map((e) => e.observation));
  // openpi gives every row the same weight; here every token has it, long chunks count for more.
  const lengths = postfix.map((row) => row.length);
  const count = lengths.reduce((sum, n) => sum + n, 0);
  const states = postfixStates(network, input, postfix);
  const losses = postfixLosses(network, input, postfix, states);
  const loss = tf.sum(tf.mul(losses, tf.tensor1d(lengths.map((n) => n / count)))) as Scalar;
  if (asked === undefined) return loss;
  const answers = asked.question.loss(states, examples.map(({ scene }) => scene!));
  return tf.add(loss, tf.mul(answers, asked.weight)) as Scalar;
}

/** How to train. */
export interface ImitationOptions {
  /** Gradient steps. */
  readonly steps: number;
  /** Examples a step. */
  readonly batchSize: number;
  /** Weight of the question of where things are ({@link SceneQuestion}); 0 or nothing asks none. */
  readonly sceneWeight?: number;
  /** Peak step size; it warms up over the first 5 % and decays to a tenth as a cosine. */
  readonly learningRate: number;
  /** Independent uniform numbers in [0, 1). */
  readonly random: () => number;
  /** Awaited after each step, with the loss in nats a token; it may add to the examples. */
  readonly onStep?: (step: number, loss: number) => void | Promise<void>;
}

/** Train a policy's backbone on examples. */
export async function trainImitation(
  policy: ActorCritic,
  examples: readonly ImitationExample[],
  options: ImitationOptions,
): Promise<void> {
  const { steps, batchSize, random } = options;
  const weight = options.sceneWeight ?? 0;
  using question = weight === 0 ? undefined : new SceneQuestion(
    policy.network.variant.gemma.width,
    examples[0].scene?.length ?? 0,
  );
  const asked = question && { question, weight };
  const variables = [...policy.network.backbone.select(() => true), ...question?.variables ?? []];
  const optimizer = tf.train.adam(options.learningRate, 0.9, 0.95, 1e-8);
  let batches: ImitationExample[][] = [];
  for (let step = 0; step < steps; step++) {
    if (batches.length === 0) batches = drawBatches(examples, batchSize, random);
    const batch = batches.pop()!;
    (optimizer as unknown as { learningRate: number }).learningRate = options.learningRate *
      schedule(step / steps);
    const { loss, gradients } = await clippedGradients(
      () => imitationLoss(policy, batch, asked),
      variables,
      1,
    );
    optimizer.applyGradients(
      gradients as unknown as Parameters<typeof optimizer.applyGradients>[0],
    );
    tf.dispose(gradients);
    await options.onStep?.(step, loss);
    await yieldToEventLoop();
  }
  optimizer.dispose();
}

/** Batches drawn at a time, to be sorted by length. */
const DRAWN_BATCHES = 8;

/**
 * Draw examples for several batches, each of examples of like length: a batch is as long as its
 * longest example, and a few long ones would otherwise make every batch slow.
 */
function drawBatches(
  examples: readonly ImitationExample[],
  size: number,
  random: () => number,
): ImitationExample[][] {
  const drawn = Array.from(
    { length: DRAWN_BATCHES * size },
    () => examples[Math.floor(random() * examples.length)],
  ).sort((a, b) => a.tokens.length - b.tokens.length);
  const batches = Array.from(
    { length: DRAWN_BATCHES },
    (_, i) => drawn.slice(i * size, (i + 1) * size),
  );
  const order = batches.map((batch) => ({ batch, key: random() })).sort((a, b) => a.key - b.key);
  return order.map(({ batch }) => batch);
}

/** Warm-up over 5 %, then a cosine from 1 to 0.1. */
function schedule(progress: number): number {
  const warmup = 0.05;
  if (progress < warmup) return (progress + 1e-3) / warmup;
  return 0.1 + 0.45 * (1 + Math.cos(Math.PI * (progress - warmup) / (1 - warmup)));
}
