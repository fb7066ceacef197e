/**
 * The decode engine as what acts for a policy: pictures and prompt in, chunk and value out.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { GpuDevice } from "../device/gpu_device.ts";
import type { ActorCritic } from "../policy/actor_critic.ts";
import {
  type ChunkDecoder,
  CRITIC_PATHS,
  type DecodedChunk,
  type DecoderInput,
  type DecoderSampling,
  type DecoderTimes,
  type DecoderWeights,
} from "../policy/chunk_decoder.ts";
import { imageTokens } from "../policy/network.ts";
import type { QuantizedTensor } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import { DecodeEngine, type EngineOptions } from "./decode_engine.ts";
import { engineModelOf } from "./engine_model.ts";

/** The engine behind an actor-critic. Owner of it; the device stays its maker's. */
export class PolicyEngine implements ChunkDecoder {
  /** Its name on the wire. */
  readonly name = "engine";
  readonly #policy: ActorCritic;
  readonly #engine: DecodeEngine;
  #chunks = 0;
  #chunkMs = 0;
  /** Settles when the work under way is done: the engine has room for one chunk at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(policy: ActorCritic, engine: DecodeEngine) {
    this.#policy = policy;
    this.#engine = engine;
  }

  /**
   * Make an engine for a policy: upload what it keeps, compile and bind.
   *
   * @param gpu The device.
   * @param policy Sizes, grammar and what the engine does not keep.
   * @param weights The policy's arrays.
   * @param options How the engine divides its work.
   * @throws {RangeError} The engine cannot serve the policy, or a weight does not fit.
   * @throws {GpuMemoryError} The device has no room.
   * @throws {GpuLostError} The device has gone.
   */
  static async create(
    gpu: GpuDevice,
    policy: ActorCritic,
    weights: DecoderWeights,
    options: EngineOptions = {},
  ): Promise<PolicyEngine> {
    const matrices = new Map<string, QuantizedTensor>();
    const floats = new Map<string, HostTensor>();
    for (const [path, tensor] of weights.backbone) {
      if (!isEngineWeight(path)) continue;
      if ("bits" in tensor) matrices.set(path, tensor);
      else floats.set(path, tensor);
    }
    for (const [path, tensor] of weights.valueHead) {
      const name = `${CRITIC_PATHS}${path}`;
      floats.set(name, { ...tensor, name });
    }
    const engine = await DecodeEngine.create(gpu, engineModelOf(policy), { matrices, floats }, {
      ...options,
      storage: weights.storage,
    });
    return new PolicyEngine(policy, engine);
  }

  /** A clause for people. */
  get description(): string {
    return "the decode engine";
  }

  /** Where its time went. */
  get times(): DecoderTimes {
    return {
      chunks: this.#chunks,
      chunkMs: this.#chunkMs,
      visionMs: null,
      prefillMs: null,
      decodeMs: null,
    };
  }

  /** GPU memory that it holds, in bytes. */
  get gpuBytes(): number {
    return this.#engine.gpuBytes;
  }

  /** Sample a chunk. See {@link ChunkDecoder.sample}. */
  sample(input: DecoderInput, sampling: DecoderSampling): Promise<DecodedChunk> {
    return this.#inTurn(async () => {
      const start = performance.now();
      await this.#prefill(input);
      const chunk = await this.#engine.sample(sampling);
      this.#chunks++;
      this.#chunkMs += performance.now() - start;
      return chunk;
    });
  }

  /** Value an observation. See {@link ChunkDecoder.observationValue}. */
  observationValue(input: DecoderInput): Promise<number> {
    return this.#inTurn(async () => {
      await this.#prefill(input);
      return await this.#engine.observationValue(this.#policy.grammar.minTokens);
    });
  }

  /** Check new weights. See {@link ChunkDecoder.check}. */
  check(weights: readonly HostTensor[]): void {
    this.#engine.checkWeights(weights.filter(({ name }) => isEngineWeight(name)));
  }

  /** Write new weights. See {@link ChunkDecoder.assign}. */
  assign(weights: readonly HostTensor[]): void {
    this.#engine.updateWeights(weights.filter(({ name }) => isEngineWeight(name)));
  }

  /** Free its buffers. */
  [Symbol.dispose](): void {
    this.#engine[Symbol.dispose]();
  }

  async #prefill({ images, prompt, forced }: DecoderInput): Promise<void> {
    const input = { images, ids: { prompts: [prompt], forced } };
    const tokens = tf.tidy(() => imageTokens(this.#policy.network, input));
    const seen = Float32Array.from(await tokens.data<"float32">());
    tokens.dispose();
    this.#engine.prefill({ imageTokens: seen, prompt, forced });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
}

/**
 * Whether the engine keeps a parameter.
 *
 * @param path The path; the critic's begin with `value_head/`.
 */
export function isEngineWeight(path: string): boolean {
  return path.startsWith("PaliGemma/llm/") || path.startsWith(CRITIC_PATHS);
}
