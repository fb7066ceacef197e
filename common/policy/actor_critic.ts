/**
 * The π0-FAST actor-critic: observations in, action chunks, log-probabilities and values out.
 *
 * The robot samples with it, the learner trains it, and both see the same numbers: the same masked
 * softmax over the tokens that the chunk grammar allows.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor1D, Tensor2D, Tensor3D } from "./tensors.ts";
import type { Observation, SampledChunk } from "../types.ts";
import { CAMERA_NAMES } from "../types.ts";
import { checkFinite } from "../device/check_finite.ts";
import { tellGpuFaults } from "../device/tell_gpu_faults.ts";
import { maskedLogProbs } from "../kernels/masked_log_prob_ops.ts";
import { closingTokens, type Dialect, DIALECTS } from "../tokenizer/dialect.ts";
import { FreeGrammar } from "../tokenizer/free_grammar.ts";
import { ChunkGrammar } from "../tokenizer/grammar.ts";
import { normalize, withMode } from "../tokenizer/normalization.ts";
import { buildPrefix, forcedActionPrefix } from "../tokenizer/prompt.ts";
import { toPolicyState } from "./action_transform.ts";
import { behaviourOfTfjs } from "./behaviour.ts";
import type { ChunkDecoder, DecodedChunk, DecoderInput } from "./chunk_decoder.ts";
import { forward, imageTokens, type Network, type NetworkInput, startDecoding } from "./network.ts";
import type { ParameterStore } from "./parameters.ts";
import type { PolicyAssets, PolicyShape } from "./policy_shape.ts";
import { joinRows, type PreparedChunks } from "./prepared_chunks.ts";
import { drawToken } from "./sampling.ts";
import { MASKED_LOGIT } from "./variants.ts";

export type { PolicyAssets, PolicyShape } from "./policy_shape.ts";
export { type PreparedChunks, selectRows } from "./prepared_chunks.ts";

/** What the policy says about given chunks; tensors, differentiable. */
export interface Evaluation {
  /** `[B]`: sum of token log-probabilities, nats. */
  readonly logProb: Tensor1D;
  /** `[B, S]`: log-probability of each chosen token, nats; 0 where a row has none. */
  readonly tokenLogProbs: Tensor2D;
  /** `[B]`: mean entropy a token, nats. */
  readonly entropy: Tensor1D;
  /** `[B]`: the critic's values. */
  readonly value: Tensor1D;
  /**
   * `[B, S, V]`: log-probabilities of every FAST token; those masked are far below any other. Made
   * when it is asked for, each time: ask where the evaluation was made, before its `tf.tidy` ends.
   */
  readonly logProbs: Tensor3D;
  /** `[B, S]`: 1 where a row has a token. */
  readonly isToken: Tensor2D;
}

/** How chunks are sampled. */
export interface SamplingOptions {
  /** 1 samples the policy as it is; 0 takes the best token each time. */
  readonly temperature: number;
  /** Independent uniform numbers in [0, 1). */
  readonly random: () => number;
  /**
   * Give image tokens with each chunk; false if absent. A decoder, which keeps them on its GPU, never
   * does.
   */
  readonly keepImageTokens?: boolean;
}

/** A policy with its critic. Owner of both sets of weights. */
export class ActorCritic implements Disposable {
  /** Shape of its chunks. */
  readonly shape: PolicyShape;
  /** Its conventions of prompt and normalisation. */
  readonly dialect: Dialect;
  /** Tokenizers and statistics, the latter in the policy's mode. */
  readonly assets: PolicyAssets;
  /** Weights and sizes. */
  readonly network: Network;
  /** Which tokens may follow which. */
  readonly grammar: ChunkGrammar;
  readonly #forced: Int32Array;
  #decoder: ChunkDecoder | null = null;

  /**
   * Put the parts together.
   * @param backbone Weights of SigLIP and Gemma.
   * @param valueHead Weights of the critic.
   */
  constructor(
    shape: PolicyShape,
    assets: PolicyAssets,
    backbone: ParameterStore,
    valueHead: ParameterStore,
  ) {
    const { variant, horizon, actionDim, valueInput, maxValueSteps, isCriticDetached } = shape;
    const { vocab } = variant.gemma;
    const words = assets.language.vocabSize;
    const free = vocab - variant.fastSkipTokens - (variant.fastSharesTextIds ? 0 : words);
    if (assets.fast.vocabSize > free) {
      throw new RangeError(
        `The action tokenizer has ${assets.fast.vocabSize} tokens, but variant ${variant.name} ` +
          `has room for ${free}`,
      );
    }
    // PaliGemma's tokenizer on Hugging Face has one token more, <image>, which no text becomes.
    if (words > vocab + 1) {
      throw new RangeError(
        `The language tokenizer has ${words} tokens, but variant ${variant.name} embeds ${vocab}: ` +
          `use the tokenizer that its weights were trained with`,
      );
    }
    this.shape = shape;
    this.dialect = DIALECTS[shape.dialect ?? "openpi"];
    const mode = shape.normalization ?? this.dialect.normalization;
    this.assets = { ...assets, stats: withMode(assets.stats, mode) };
    const { constrainedDecoding = true } = shape;
    const Grammar = constrainedDecoding ? ChunkGrammar : FreeGrammar;
    this.grammar = new Grammar(assets.fast, horizon, actionDim);
    this.#forced = forcedActionPrefix(assets.language);
    this.network = {
      variant,
      backbone,
      valueHead,
      fastVocab: assets.fast.vocabSize,
      valueInput,
      maxValueSteps,
      isCriticDetached,
    };
  }

  /** What decodes chunks in the place of tfjs; null if nothing does. */
  get decoder(): ChunkDecoder | null {
    return this.#decoder;
  }

  /**
   * Let a decoder act in the place of tfjs. What the policy lacks itself cannot be evaluated any more.
   * @param decoder It is taken over.
   */
  useDecoder(decoder: ChunkDecoder): void {
    this.#decoder?.[Symbol.dispose]();
    this.#decoder = decoder;
  }

  /** Pictures and prompt ids of a batch. */
  prepareInput(observations: readonly Observation[]): NetworkInput {
    const { actionDim, maxTokenLen, variant } = this.shape;
    const prompts = observations.map(({ state, prompt }) => {
      const ours = toPolicyState(state, this.shape.adaptToPi);
      const normalized = normalize(ours, this.assets.stats.state).subarray(0, actionDim);
      return buildPrefix({
        language: this.assets.language,
        prompt,
        state: variant.clipsState
          ? normalized.map((x) => Math.min(1, Math.max(-1, x)))
          : normalized,
        maxTokenLen,
        reservedTokens: this.#reservedTokens,
        dialect: this.dialect,
      });
    });
    return {
      images: observations.flatMap((o) => CAMERA_NAMES.map((camera) => o.images[camera])),
      ids: { prompts, forced: this.#forced },
    };
  }

  /** Tokens of `maxTokenLen` around the FAST tokens: `Action: ` before them, the end behind. */
  get #reservedTokens(): number {
    return this.#forced.length + closingTokens(this.dialect);
  }

  /** FAST tokens that a row may have: what the prompt leaves of `maxTokenLen`. */
  #tokenBudget(prompt: Int32Array): number {
    return this.shape.maxTokenLen - prompt.length - this.#reservedTokens;
  }

  /**
   * Sample a chunk for every observation.
   *
   * Every chunk decodes to exactly H × A numbers: only tokens that keep it so can be drawn. Without
   * that constraint, what does not decode becomes the middle of the range, as FAST's processor has it.
   * @throws {NonFiniteError} A log-probability, an entropy, an action or a value is not finite; there
   *   are no chunks then, not even of the other rows.
   * @throws {GpuLostError} The GPU that it computes on is lost.
   */
  async sampleActions(
    observations: readonly Observation[],
    options: SamplingOptions,
  ): Promise<SampledChunk[]> {
    if (observations.length === 0) return [];
    return await tellGpuFaults(() => this.#sample(observations, options));
  }

  async #sample(
    observations: readonly Observation[],
    options: SamplingOptions,
  ): Promise<SampledChunk[]> {
    const decoder = this.#decoder;
    const isKept = options.keepImageTokens === true && decoder === null;
    const seen = this.prepareInput(observations);
    const input = isKept ? { ...seen, imageTokens: await this.encodeImages(seen) } : seen;
    const budgets = input.ids.prompts.map((prompt) => this.#tokenBudget(prompt));
    const decoded = decoder === null
      ? await this.#decode(input, budgets, options)
      : await oneByOne(inputRows(input), (row, i) =>
        decoder.sample(row, { ...options, maxTokens: budgets[i] }));
    const { precision } = this.network.backbone;
    const behaviour = decoder ? { precision, decoder: decoder.name } : behaviourOfTfjs(precision);
    return decoded.map(({ tokens, logProbs, entropies, value }, i) => {
      checkFinite(logProbs, "the log-probabilities of a chunk");
      // What a broken kernel has drawn against the grammar would decode to another length.
      if (decoder) this.grammar.check(tokens, budgets[i]);
      // A certain token's may come out above 0 by rounding.
      const ownLogProbs = Array.from(logProbs, (logProb) => Math.min(0, logProb));
      const chunk = {
        tokens: Int32Array.from(tokens),
        actions: this.#actionsOf(tokens),
        logProb: ownLogProbs.reduce((sum, logProb) => sum + logProb, 0),
        tokenLogProbs: Float32Array.from(ownLogProbs),
        behaviour,
        entropy: Array.from(entropies).reduce((sum, entropy) => sum + entropy, 0) / tokens.length,
        value,
        ...(input.imageTokens && { imageTokens: input.imageTokens[i] }),
      };
      checkFinite(chunk.actions, "the actions of a chunk");
      checkFinite(chunk.entropy, "the entropy of a chunk");
      checkFinite(chunk.value, "the value of a chunk");
      return chunk;
    });
  }

  /** Tokens as normalised actions `[H, A]`. */
  #actionsOf(tokens: ArrayLike<number>): Float32Array {
    const { horizon, actionDim, constrainedDecoding = true } = this.shape;
    try {
      return this.assets.fast.decode(tokens, horizon, actionDim);
    } catch (error) {
      if (constrainedDecoding || !(error instanceof RangeError)) throw error;
      return new Float32Array(horizon * actionDim);
    }
  }

  /** Decode a batch with tfjs. */
  async #decode(
    input: NetworkInput,
    budgets: readonly number[],
    options: { readonly temperature: number; readonly random: () => number },
  ): Promise<DecodedChunk[]> {
    const states = budgets.map((budget) => this.grammar.start(budget));
    const rows = budgets.map(() => ({
      tokens: [] as number[],
      logProbs: [] as number[],
      entropies: [] as number[],
    }));
    const needsAll = this.shape.valueInput === "chunk";
    /** Rows that are fed. */
    let left = [...states.keys()];
    using decoding = await startDecoding(this.network, input, Math.max(...budgets));
    for (;;) {
      const { logits } = decoding;
      left.forEach((row, place) => {
        const state = states[row];
        if (this.grammar.isDone(state)) return;
        const allowed = this.grammar.allowed(state);
        const draw = drawToken(logits, place, allowed, options.temperature, options.random);
        // Logits of which one is not finite show here, before the chunk goes on from them.
        checkFinite(draw.logProb, "a token's log-probability");
        rows[row].tokens.push(draw.token);
        rows[row].logProbs.push(draw.logProb);
        rows[row].entropies.push(draw.entropy);
        states[row] = this.grammar.next(state, draw.token);
      });
      const open = left.filter((row) => !this.grammar.isDone(states[row]));
      if (open.length === 0) break;
      // Copying the others' keys and values pays once they are few: chunks differ much in length.
      if (!needsAll && open.length <= left.length / 2) {
        decoding.keepRows(open.map((row) => left.indexOf(row)));
        left = open;
      }
      // Rows that are done and still fed get their last token again; nobody reads what comes of it.
      await decoding.feed(left.map((row) => rows[row].tokens[rows[row].tokens.length - 1]));
    }
    const values = needsAll
      ? await decoding.finish(rows.map(({ tokens }) => tokens.length))
      : decoding.values;
    return rows.map((row, i) => ({ ...row, value: values[i] }));
  }

  /**
   * Values of observations without a chunk, to bootstrap where an episode was cut off.
   * The `chunk` critic is asked about a chunk taken greedily.
   * @returns `[B]`.
   * @throws {NonFiniteError} A value is not finite.
   * @throws {GpuLostError} The GPU that it computes on is lost.
   */
  async observationValues(observations: readonly Observation[]): Promise<Float32Array> {
    if (observations.length === 0) return new Float32Array(0);
    return await tellGpuFaults(() => this.#observationValues(observations));
  }

  async #observationValues(observations: readonly Observation[]): Promise<Float32Array> {
    if (this.shape.valueInput === "chunk") {
      const chunks = await this.sampleActions(observations, { temperature: 0, random: () => 0 });
      return Float32Array.from(chunks, (c) => c.value);
    }
    const values = await this.#readValues(this.prepareInput(observations));
    checkFinite(values, "the values of observations");
    return values;
  }

  async #readValues(input: NetworkInput): Promise<Float32Array> {
    const decoder = this.#decoder;
    if (decoder !== null) {
      const read = (row: DecoderInput) => decoder.observationValue(row);
      return Float32Array.from(await oneByOne(inputRows(input), read));
    }
    using decoding = await startDecoding(this.network, input, 1);
    return Float32Array.from(decoding.values);
  }

  /**
   * What is wrong with a chunk that somebody claims to have sampled: pictures of another size, or
   * tokens that the grammar never allowed.
   * @returns One sentence, or null if it could have been sampled here.
   */
  findFault(observation: Observation, tokens: Int32Array): string | null {
    const { imageSize } = this.shape.variant.siglip;
    for (const camera of CAMERA_NAMES) {
      const { width, height } = observation.images[camera];
      if (width !== imageSize || height !== imageSize) {
        return `${camera} is ${width}×${height}, the policy sees ${imageSize}×${imageSize}`;
      }
    }
    try {
      const [prompt] = this.prepareInput([observation]).ids.prompts;
      this.grammar.check(tokens, this.#tokenBudget(prompt));
      return null;
    } catch (error) {
      if (error instanceof RangeError) return error.message;
      throw error;
    }
  }

  /**
   * Tokenise observations and work out what the grammar allowed, once for many passes.
   * @throws RangeError if a chunk's tokens leave the grammar (such a chunk was never sampled), or
   *   there is not one chunk an observation.
   */
  prepareChunks(
    observations: readonly Observation[],
    tokens: readonly Int32Array[],
  ): PreparedChunks {
    if (observations.length !== tokens.length || tokens.length === 0) {
      throw new RangeError(
        `Cannot prepare chunks: ${observations.length} observations and ${tokens.length} chunks ` +
          "were given; each needs the other, and at least one of both",
      );
    }
    const input = this.prepareInput(observations);
    const allowed = tokens.map((row, i) =>
      this.grammar.allowedAlong(row, this.#tokenBudget(input.ids.prompts[i]))
    );
    return { input, tokens, allowed };
  }

  /** Image tokens `[I · D]` of each row of an input. */
  async encodeImages(input: NetworkInput): Promise<Float32Array[]> {
    const tensor = tf.tidy(() => imageTokens(this.network, input));
    const data = await tensor.data<"float32">();
    tensor.dispose();
    const rows = input.ids.prompts.length;
    const width = data.length / rows;
    return Array.from({ length: rows }, (_, i) => data.slice(i * width, (i + 1) * width));
  }

  /**
   * The differentiable pass over prepared chunks. Call inside `tf.tidy` or a gradient function.
   * @param temperature The one that the chunks were sampled with.
   * @throws RangeError if a decoder acts for the policy: it has the weights.
   */
  evaluate({ input, tokens, allowed }: PreparedChunks, temperature = 1): Evaluation {
    if (this.#decoder !== null) {
      throw new RangeError(
        "Cannot evaluate chunks: a decoder has the policy's weights and only acts; load the policy " +
          "with --decoder tfjs",
      );
    }
    const { logits, value } = forward(this.network, input, tokens);
    const [batch, steps, vocab] = logits.shape;
    const rows = joinRows({ tokens, allowed }, steps, vocab);
    const flat = tf.reshape(logits, [batch * steps, vocab]) as Tensor2D;
    const found = maskedLogProbs(flat, { ...rows, temperature });
    const tokenLogProbs = tf.reshape(found.logProb, [batch, steps]) as Tensor2D;
    const entropies = tf.sum(tf.reshape(found.entropy, [batch, steps]), 1);
    const lengths = tf.tensor1d(tokens.map((row) => row.length));
    const isToken = Float32Array.from(rows.tokens, (token) => (token < 0 ? 0 : 1));
    return {
      logProb: tf.sum(tokenLogProbs, 1) as Tensor1D,
      tokenLogProbs,
      entropy: tf.div(entropies, lengths) as Tensor1D,
      value,
      get logProbs() {
        const added = Float32Array.from(rows.allowed, (isAllowed) => isAllowed ? 0 : MASKED_LOGIT);
        const masked = tf.add(tf.div(logits, temperature), tf.tensor3d(added, logits.shape));
        return tf.logSoftmax(masked) as Tensor3D;
      },
      isToken: tf.tensor2d(isToken, [batch, steps]),
    };
  }

  /** Log-probabilities `[B]` of given chunks, in nats: sums over their tokens. */
  computeActionChunkLogProb(
    observations: readonly Observation[],
    tokens: readonly Int32Array[],
    temperature = 1,
  ): Promise<Float32Array> {
    return this.#read(observations, tokens, temperature, (e) => e.logProb);
  }

  /** The critic's values `[B]` of given observations and chunks. */
  computeActionChunkValue(
    observations: readonly Observation[],
    tokens: readonly Int32Array[],
  ): Promise<Float32Array> {
    return this.#read(observations, tokens, 1, (e) => e.value);
  }

  /** Mean entropy a token `[B]` along given chunks, in nats. */
  computeActionChunkEntropy(
    observations: readonly Observation[],
    tokens: readonly Int32Array[],
    temperature = 1,
  ): Promise<Float32Array> {
    return this.#read(observations, tokens, temperature, (e) => e.entropy);
  }

  async #read(
    observations: readonly Observation[],
    tokens: readonly Int32Array[],
    temperature: number,
    pick: (e: Evaluation) => Tensor1D,
  ): Promise<Float32Array> {
    const prepared = this.prepareChunks(observations, tokens);
    const tensor = tf.tidy(() => pick(this.evaluate(prepared, temperature)));
    const values = await tensor.data<"float32">();
    tensor.dispose();
    return Float32Array.from(values);
  }

  /** Free all weights. */
  [Symbol.dispose](): void {
    this.#decoder?.[Symbol.dispose]();
    this.network.backbone.dispose();
    this.network.valueHead.dispose();
  }
}

/** The observations of a batch, each by itself. */
function inputRows({ images, ids }: NetworkInput): DecoderInput[] {
  const cameras = CAMERA_NAMES.length;
  return ids.prompts.map((prompt, i) => ({
    images: images.slice(i * cameras, (i + 1) * cameras),
    prompt,
    forced: ids.forced,
  }));
}

/** One after the other: a decoder has room for one chunk at a time. */
async function oneByOne<T, R>(rows: readonly T[], work: (row: T, i: number) => Promise<R>) {
  const results: R[] = [];
  for (const [i, row] of rows.entries()) results.push(await work(row, i));
  return results;
}
