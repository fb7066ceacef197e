/**
 * The actor-critic as tensors: one differentiable pass over prefix and chunk for training, and
 * prefill plus one-token decoding over a cache for acting. Both compute the same numbers.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor, Tensor1D, Tensor2D, Tensor3D, Tensor4D } from "./tensors.ts";
import type { ValueInput } from "../config/config.ts";
import { EventLoopPacer } from "../turn_event_loop.ts";
import { CAMERA_NAMES, type RgbImage } from "../types.ts";
import { embedTokens, fastHead, fastLogits, runGemma, wordLogits } from "./gemma.ts";
import { KvCache } from "./kv_cache.ts";
import type { ParameterStore } from "./parameters.ts";
import { makeRope } from "./rope.ts";
import {
  decodeMask,
  layOut,
  type PositionConvention,
  positionIds,
  type PrefixIds,
  prefixLmMask,
  type SequenceLayout,
  textIds,
} from "./sequence.ts";
import { encodeImages } from "./siglip.ts";
import { poolByAttention, valueOf } from "./value_head.ts";
import { type PolicyVariant, tokensPerImage } from "./variants.ts";

/** Weights and sizes of an actor-critic. */
export interface Network {
  /** Sizes. */
  readonly variant: PolicyVariant;
  /** SigLIP and Gemma. */
  readonly backbone: ParameterStore;
  /** The critic. */
  readonly valueHead: ParameterStore;
  /** Number of FAST tokens. */
  readonly fastVocab: number;
  /**
   * What the critic reads: the state before the first action token, the mean over a chunk's, or all
   * before the first action token pooled by attention.
   */
  readonly valueInput: ValueInput;
  /** Most action tokens that the `chunk` critic reads. */
  readonly maxValueSteps: number;
  /** The value loss trains the critic alone, not the backbone that it reads. */
  readonly isCriticDetached: boolean;
}

/** What the network is shown: pictures and prompts of a batch. */
export interface NetworkInput {
  /** `[B · cameras]` pictures, the cameras of one row together in the order of CAMERA_NAMES. */
  readonly images: readonly RgbImage[];
  /**
   * `[I, D]` image tokens of each row, if they were computed before with weights that have not
   * changed since; the pictures are then not looked at.
   */
  readonly imageTokens?: readonly Float32Array[];
  /** Prompts. */
  readonly ids: PrefixIds;
}

/** What a byte of a picture is in [−1, 1]. */
const LEVELS = Float32Array.from({ length: 256 }, (_, byte) => byte / 127.5 - 1);

/** Pictures as the encoder wants them: `[n, size, size, 3]` in [−1, 1]. */
export function imageTensor(images: readonly RgbImage[], size: number): Tensor4D {
  const pixels = size * size * 3;
  const data = new Float32Array(images.length * pixels);
  images.forEach((image, i) => {
    if (image.width !== size || image.height !== size) {
      throw new RangeError(
        `The policy sees ${size}×${size} pictures, this one is ${image.width}×${image.height}`,
      );
    }
    if (image.data.length !== pixels) {
      throw new RangeError(
        `A ${size}×${size} picture has ${pixels} bytes, this one has ${image.data.length}`,
      );
    }
    for (let j = 0, at = i * pixels; j < pixels; j++) data[at + j] = LEVELS[image.data[j]];
  });
  return tf.tensor4d(data, [images.length, size, size, 3]);
}

/** Image tokens of each row, all cameras in order: `[B, I, D]`. */
export function imageTokens(net: Network, input: NetworkInput): Tensor3D {
  const { siglip, gemma } = net.variant;
  if (input.imageTokens) {
    const rows = input.imageTokens;
    const joined = new Float32Array(rows.length * rows[0].length);
    rows.forEach((row, i) => joined.set(row, i * row.length));
    return tf.tensor(joined, [rows.length, rows[0].length / gemma.width, gemma.width]);
  }
  const pictures = imageTensor(input.images, siglip.imageSize);
  const tokens = encodeImages(net.backbone, siglip, pictures);
  return tf.reshape(tokens, [input.ids.prompts.length, -1, gemma.width]) as Tensor3D;
}

function layoutOf(net: Network, input: NetworkInput, fedTokens: number): SequenceLayout {
  const perRow = tokensPerImage(net.variant.siglip) * CAMERA_NAMES.length;
  return layOut(perRow, input.ids, fedTokens);
}

/** Language id of a FAST token. */
function languageId(net: Network, fastId: number): number {
  return net.variant.gemma.vocab - 1 - net.variant.fastSkipTokens - fastId;
}

/**
 * Embed everything, `[B, T, D]`, with rotations and mask.
 * @param seen `[B, I, D]`: the image tokens, where they are at hand already.
 */
function embedSequence(
  net: Network,
  input: NetworkInput,
  layout: SequenceLayout,
  fed: readonly ArrayLike<number>[],
  convention: PositionConvention = net.variant.decodePositions,
  seen: Tensor3D = imageTokens(net, input),
) {
  const { gemma } = net.variant;
  const { batch, length, imageTokens: I } = layout;
  const text = tf.tensor2d(textIds(layout, input.ids, fed), [batch, length - I], "int32");
  const x = tf.concat([seen, embedTokens(net.backbone, gemma, text)], 1);
  const mask = prefixLmMask(layout);
  return {
    x: x as Tensor3D,
    rope: makeRope(positionIds(layout, convention), [batch, length], gemma.headDim),
    mask: tf.tensor3d(mask.data, [mask.rows, length, length]),
  };
}

/** Outcome of {@link forward}. */
export interface ForwardOutput {
  /** `[B, S, fastVocab]`: logits from which token s of each chunk is predicted. */
  readonly logits: Tensor3D;
  /** `[B]`. */
  readonly value: Tensor1D;
}

/**
 * The differentiable pass: logits of every token of given chunks, and the value.
 * @param tokens FAST ids of each row, `[S_b]`; S is the longest.
 */
export function forward(
  net: Network,
  input: NetworkInput,
  tokens: readonly Int32Array[],
): ForwardOutput {
  const steps = Math.max(1, ...tokens.map((t) => t.length));
  const layout = layoutOf(net, input, steps - 1);
  const fed = tokens.map((row) => Array.from(row.slice(0, steps - 1), (t) => languageId(net, t)));
  const { gemma, fastSkipTokens } = net.variant;
  const read = readStates(
    net,
    layout,
    runGemma(net.backbone, gemma, {
      ...embedSequence(net, input, layout, fed),
      readFrom: firstRead(net, layout),
    }),
  );
  return {
    logits: fastLogits(net.backbone, gemma, read.predicting, net.fastVocab, fastSkipTokens),
    value: criticOf(net, read, tokens.map((t) => t.length)),
  };
}

/** The position that the first FAST token is predicted from: the last one before it. */
function firstPredicting(layout: SequenceLayout): number {
  return layout.imageTokens + layout.promptTokens + layout.forcedTokens - 1;
}

/** Hidden states that somebody reads. */
interface ReadStates {
  /** `[B, S, D]`: those that action tokens are predicted from. */
  readonly predicting: Tensor3D;
  /** All up to the first of them with the additive mask `[B, T]` of padding, where a critic pools. */
  readonly pooled?: { readonly states: Tensor3D; readonly mask: Tensor2D };
}

/** First position whose hidden state somebody reads. */
function firstRead(net: Network, layout: SequenceLayout): number {
  return net.valueInput === "attention" ? 0 : firstPredicting(layout);
}

/** Take apart the hidden states from {@link firstRead} on. */
function readStates(net: Network, layout: SequenceLayout, hidden: Tensor3D): ReadStates {
  if (net.valueInput !== "attention") return { predicting: hidden };
  const first = firstPredicting(layout);
  const mask = tf.tensor2d(decodeMask(layout, first + 1, first + 1), [layout.batch, first + 1]);
  return {
    predicting: tf.slice(hidden, [0, first, 0], [-1, -1, -1]),
    pooled: { states: tf.slice(hidden, [0, 0, 0], [-1, first + 1, -1]), mask },
  };
}

/**
 * The critic's value. The `observation` critic reads the first state that an action token is predicted
 * from, which has seen no action; the `attention` critic reads all up to it, images' and words', none
 * of which has seen an action; the `chunk` critic reads the mean over a chunk's.
 */
function criticOf(
  net: Network,
  { predicting, pooled }: ReadStates,
  lengths: readonly number[],
): Tensor1D {
  const open = pooled?.states ?? predicting;
  const seen = (net.isCriticDetached ? withoutGradient(open) : open) as Tensor3D;
  if (pooled) return valueOf(net.valueHead, poolByAttention(net.valueHead, seen, pooled.mask));
  if (net.valueInput === "observation") {
    return valueOf(net.valueHead, tf.squeeze(tf.slice(seen, [0, 0, 0], [-1, 1, -1]), [1]));
  }
  const [batch, steps] = predicting.shape;
  const weights = new Float32Array(batch * steps);
  lengths.forEach((length, row) => {
    const used = Math.min(length, net.maxValueSteps);
    weights.fill(1 / used, row * steps, row * steps + used);
  });
  const mean = tf.sum(tf.mul(seen, tf.tensor3d(weights, [batch, steps, 1])), 1);
  return valueOf(net.valueHead, mean);
}

/** x, through which no gradient flows back. */
function withoutGradient(x: Tensor3D): Tensor {
  return tf.customGrad((...args) => ({
    value: tf.clone(args[0] as Tensor),
    gradFunc: (dy: Tensor) => tf.zerosLike(dy),
  }))(x);
}

/**
 * Logits over the whole language vocabulary for the words behind the prompt: what imitation learns.
 * @param postfix Language ids of each row behind the prompt (`Action: `, FAST tokens, `|`, EOS).
 * @returns `[B, T, V]` where T is the longest postfix: row t predicts postfix token t.
 */
export function postfixLogits(
  net: Network,
  input: NetworkInput,
  postfix: readonly Int32Array[],
): Tensor3D {
  return wordLogits(net.backbone, postfixStates(net, input, postfix));
}

/**
 * The hidden states that {@link postfixLogits} reads: `[B, T, D]`. The first of a row has seen all that
 * is to be seen, and no action.
 * @param postfix As for {@link postfixLogits}.
 */
export function postfixStates(
  net: Network,
  input: NetworkInput,
  postfix: readonly Int32Array[],
): Tensor3D {
  const steps = Math.max(...postfix.map((p) => p.length));
  // Training counts positions naturally, whatever the variant decodes with.
  const unforced = { ...input, ids: { ...input.ids, forced: new Int32Array(0) } };
  const layout = layoutOf(net, unforced, steps - 1);
  const fed = postfix.map((row) => Array.from(row.slice(0, steps - 1)));
  return runGemma(net.backbone, net.variant.gemma, {
    ...embedSequence(net, unforced, layout, fed, "training"),
    readFrom: layout.imageTokens + layout.promptTokens - 1,
  });
}

/**
 * Next-token cross-entropy of given words behind the prompt, openpi's `compute_loss`.
 * @param postfix Language ids of each row behind the prompt, at least one.
 * @param states {@link postfixStates} of them, where they are at hand.
 * @returns `[B]`: each row's mean over its own words, in nats a token.
 */
export function postfixLosses(
  net: Network,
  input: NetworkInput,
  postfix: readonly Int32Array[],
  states: Tensor3D = postfixStates(net, input, postfix),
): Tensor1D {
  const logProbs = tf.logSoftmax(wordLogits(net.backbone, states));
  const [batch, steps, vocab] = logProbs.shape as [number, number, number];
  const weights = new Float32Array(batch * steps * vocab);
  postfix.forEach((row, b) => {
    row.forEach((id, s) => (weights[(b * steps + s) * vocab + id] = -1 / row.length));
  });
  return tf.sum(tf.mul(logProbs, tf.tensor3d(weights, [batch, steps, vocab])), [1, 2]) as Tensor1D;
}

/** A batch in the middle of being decoded. Owner of its cache. */
export interface Decoding extends Disposable {
  /** `[B, fastVocab]`, row-major: logits of the next token. */
  readonly logits: Float32Array;
  /** `[B]`: the critic's values (0 for the `chunk` critic until {@link finish}). */
  readonly values: Float32Array;
  /** Feed one FAST token a row and compute the next logits. */
  feed(tokens: ArrayLike<number>): Promise<void>;
  /**
   * Go on with some rows alone; logits are theirs from now on. Not where the `chunk` critic has yet to
   * read the states of all.
   * @param rows Their places among those that there are, in the order that they are to have.
   * @throws {RangeError} The critic is that one.
   */
  keepRows(rows: readonly number[]): void;
  /** Values of the `chunk` critic, given how many tokens each row has. */
  finish(lengths: readonly number[]): Promise<Float32Array>;
}

/**
 * Run the prefix once and keep its keys and values.
 * @param maxTokens Most FAST tokens that will be decoded.
 */
export async function startDecoding(
  net: Network,
  input: NetworkInput,
  maxTokens: number,
): Promise<Decoding> {
  const { gemma, fastSkipTokens, decodePositions } = net.variant;
  const layout = layoutOf(net, input, 0);
  const capacity = layout.length + Math.max(0, maxTokens - 1);
  const full = layoutOf(net, input, capacity - layout.length);
  const positions = positionIds(full, decodePositions);
  const batch = layout.batch;

  const pacer = new EventLoopPacer();
  const seen = tf.tidy(() => imageTokens(net, input));
  const prefill = () => {
    const keys: Tensor3D[] = [];
    const valuesOfLayers: Tensor3D[] = [];
    const hidden = runGemma(net.backbone, gemma, {
      ...embedSequence(net, input, layout, [], decodePositions, seen),
      readFrom: firstRead(net, layout),
      remember: (layer, k, v) => {
        keys[layer] = k;
        valuesOfLayers[layer] = v;
        return [k, v];
      },
    });
    const read = readStates(net, layout, hidden);
    const values = net.valueInput === "chunk"
      ? tf.zeros([batch]) as Tensor1D
      : criticOf(net, read, []);
    memory = new KvCache(keys, valuesOfLayers, capacity);
    return { first: read.predicting, values };
  };
  let memory!: KvCache;
  let prefilled: ReturnType<typeof prefill>;
  try {
    await pacer.turnIfDue();
    prefilled = tf.tidy(prefill);
  } finally {
    seen.dispose();
  }
  const { first, values } = prefilled;
  const predicting: Tensor3D[] = [first];
  // Frees what is there if something after it throws; then it is the decoding's to free.
  using owned = new DisposableStack();
  owned.defer(() => {
    memory[Symbol.dispose]();
    tf.dispose(predicting);
    values.dispose();
  });
  await pacer.turnIfDue();

  // Made once a chunk: of the weights as they are now.
  const head = tf.tidy(() => fastHead(net.backbone, gemma, net.fastVocab, fastSkipTokens));
  owned.defer(() => head?.dispose());
  // The same for every token: what is behind it is not read.
  let seenOfPrefix = tf.tensor3d(decodeMask(layout, capacity, capacity), [batch, 1, capacity]);
  owned.defer(() => seenOfPrefix.dispose());
  /** Rows of the batch that are decoded yet. */
  let left = Array.from({ length: batch }, (_, row) => row);
  let logits = new Float32Array(0);
  const readLogits = async (hidden: Tensor3D) => {
    const tensor = tf.tidy(() =>
      fastLogits(net.backbone, gemma, hidden, net.fastVocab, fastSkipTokens, head)
    );
    try {
      logits = await tensor.data<"float32">() as Float32Array<ArrayBuffer>;
    } finally {
      tensor.dispose();
    }
  };
  await readLogits(first);
  const observationValues = await values.data<"float32">();
  values.dispose();

  const resources = owned.move();
  return {
    get logits() {
      return logits;
    },
    values: observationValues,
    async feed(tokens) {
      await pacer.turnIfDue();
      const at = memory.length;
      const hidden = tf.tidy(() => {
        const ids = Int32Array.from(tokens, (t) => languageId(net, t));
        const here = Float32Array.from(left, (row) => positions[row * capacity + at]);
        return runGemma(net.backbone, gemma, {
          x: embedTokens(net.backbone, gemma, tf.tensor2d(ids, [ids.length, 1], "int32")),
          rope: makeRope(here, [ids.length, 1], gemma.headDim),
          mask: seenOfPrefix,
          remember: (layer, k, v) => memory.append(layer, k, v),
          keys: at + 1,
        });
      });
      memory.advance();
      const isKept = net.valueInput === "chunk";
      if (isKept) predicting.push(hidden);
      try {
        await readLogits(hidden);
      } finally {
        if (!isKept) hidden.dispose();
      }
    },
    keepRows(rows) {
      if (net.valueInput === "chunk") {
        throw new RangeError("Cannot leave rows: the chunk critic reads the states of all");
      }
      memory.keepRows(rows);
      const all = seenOfPrefix;
      seenOfPrefix = tf.tidy(() => tf.gather(all, tf.tensor1d([...rows], "int32")));
      all.dispose();
      const vocab = logits.length / left.length;
      const kept = rows.map((row) => logits.slice(row * vocab, (row + 1) * vocab));
      logits = Float32Array.from(kept.flatMap((row) => [...row]));
      left = rows.map((row) => left[row]);
    },
    async finish(lengths) {
      const tensor = tf.tidy(() => {
        const all = tf.concat(predicting, 1) as Tensor3D;
        return criticOf(net, { predicting: all }, lengths);
      });
      try {
        return await tensor.data<"float32">();
      } finally {
        tensor.dispose();
      }
    },
    [Symbol.dispose]() {
      resources.dispose();
    },
  };
}
