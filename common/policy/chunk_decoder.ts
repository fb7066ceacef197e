/**
 * What an actor-critic needs in order to act: something that decodes chunks and values observations.
 *
 * tfjs does so by default. Another decoder, such as the engine on the GPU, takes its place with
 * {@link ActorCritic.useDecoder} and keeps the weights then: such a policy acts, and is not trained.
 *
 * @module
 */

import type { QuantizedTensor } from "../quant/quantized_tensor.ts";
import type { Decoder, HostTensor, RgbImage } from "../types.ts";
import type { ActorCritic } from "./actor_critic.ts";
import type { StoragePlan } from "./parameters.ts";

/** One observation, prepared. */
export interface DecoderInput {
  /** Pictures in the order of `CAMERA_NAMES`. */
  readonly images: readonly RgbImage[];
  /** Ids of the prompt with BOS, without padding. */
  readonly prompt: Int32Array;
  /** Ids between prompt and action tokens: `Action: `. */
  readonly forced: Int32Array;
}

/** How to draw a chunk. */
export interface DecoderSampling {
  /** Above 0: sample at it. 0: take the best, with log-probabilities at temperature 1. */
  readonly temperature: number;
  /** Independent uniform numbers in [0, 1). */
  readonly random: () => number;
  /** Token budget of the grammar, as in `ChunkGrammar.start`. */
  readonly maxTokens: number;
}

/** A chunk as it was drawn; nothing is checked. */
export interface DecodedChunk {
  /** FAST ids `[S]`. */
  readonly tokens: ArrayLike<number>;
  /** `[S]` log-probabilities under the masked softmax, nats. */
  readonly logProbs: ArrayLike<number>;
  /** `[S]` entropies of the masked softmax, nats. */
  readonly entropies: ArrayLike<number>;
  /** The critic's value. */
  readonly value: number;
}

/** Where the time of a decoder went, in milliseconds since its start. */
export interface DecoderTimes {
  /** Chunks sampled, without those that were sampled to warm up. */
  readonly chunks: number;
  /** From an observation to its chunk, everything. */
  readonly chunkMs: number;
  /** Of that, the image encoder; null where it is not measured. */
  readonly visionMs: number | null;
  /** Of that, the prefix; null where it is not measured. */
  readonly prefillMs: number | null;
  /** The rest of it: decoding, drawing, the critic and reading back; null where it is not measured. */
  readonly decodeMs: number | null;
}

/** Decodes chunks in the place of tfjs. Owner of the weights that it has. */
export interface ChunkDecoder extends Disposable {
  /** What it is called on the wire. */
  readonly name: Decoder;
  /** A phrase for people, such as "the decode engine (12 MiB of GPU memory)". */
  readonly description: string;
  /** Where its time went. */
  readonly times: DecoderTimes;
  /**
   * Sample a chunk for one observation.
   * @throws {NonFiniteError} A number is not finite.
   * @throws {GpuLostError} The GPU that it computes on is lost.
   */
  sample(input: DecoderInput, sampling: DecoderSampling): Promise<DecodedChunk>;
  /** The critic's value of an observation without a chunk; for a critic that reads observations. */
  observationValue(input: DecoderInput): Promise<number>;
  /**
   * Check that new weights can be assigned.
   * @param weights Whole arrays by path; the critic's begin with `value_head/`.
   * @throws {RangeError} A name or a shape is not the decoder's.
   */
  check(weights: readonly HostTensor[]): void;
  /** Write new weights between two chunks; nothing is rebuilt. Throws as {@link check} does. */
  assign(weights: readonly HostTensor[]): void;
}

/** What a decoder is made of. */
export interface DecoderWeights {
  /** The backbone's arrays by path, in float32 or few bits. */
  readonly backbone: ReadonlyMap<string, HostTensor | QuantizedTensor>;
  /** The critic's arrays by path. */
  readonly valueHead: ReadonlyMap<string, HostTensor>;
  /** How arrays that are given in float32 are to be kept. */
  readonly storage: StoragePlan;
}

/** Makes decoders for the policies that are loaded. */
export interface DecoderSource {
  /**
   * Plan a decoder. It keeps all weights; tfjs then does without.
   * @param policy Sizes and grammar of the policy that is loaded.
   * @returns Makes it, which throws what the device throws, such as `GpuMemoryError`, and keeps nothing
   *   then; null if this policy is left to tfjs.
   * @throws {Error} It cannot serve this policy, and nothing else may.
   */
  plan(
    policy: Pick<ActorCritic, "shape" | "grammar">,
  ): ((weights: DecoderWeights) => Promise<ChunkDecoder>) | null;
}

/** Prefix of the critic's paths where they stand beside the backbone's. */
export const CRITIC_PATHS = "value_head/";
