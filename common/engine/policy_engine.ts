/**
 * The image encoder and the decode engine as what acts for a policy: pictures and prompt in, chunk and
 * value out.
 *
 * @module
 */

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
import type { QuantizedTensor } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import { DecodeEngine, type EngineOptions } from "./decode_engine.ts";
import { checkModel, engineModelOf } from "./engine_model.ts";
import { PhaseClock } from "./phase_clock.ts";
import type { Tuning } from "./tuner.ts";
import { VisionEncoder } from "./vision_encoder.ts";
import { checkVisionModel, visionModelOf } from "./vision_model.ts";

/** Every 16th chunk is looked at by phases: reading the clock back takes 11 ms. */
const CLOCKED_EVERY = 16;

/** The engine behind an actor-critic. Owner of its buffers; the device stays its maker's. */
export class PolicyEngine implements ChunkDecoder {
  /** Its name on the wire. */
  readonly name = "engine";
  readonly #vision: VisionEncoder;
  readonly #engine: DecodeEngine;
  readonly #visionNames: ReadonlySet<string>;
  readonly #minTokens: number;
  readonly #clock: PhaseClock | null;
  /** The first chunk counts as none: drivers compile late. */
  #chunks = -1;
  #chunkMs = 0;
  /** Sums over the chunks that were clocked. */
  readonly #clocked = { chunkMs: 0, visionMs: 0, prefillMs: 0 };
  /** Settles when the work under way is done: the engine has room for one chunk at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(
    vision: VisionEncoder,
    engine: DecodeEngine,
    minTokens: number,
    clock: PhaseClock | null,
  ) {
    this.#vision = vision;
    this.#engine = engine;
    this.#visionNames = new Set(vision.weightNames);
    this.#minTokens = minTokens;
    this.#clock = clock;
  }

  /**
   * Make an engine for a policy: upload its weights, compile and bind.
   *
   * @param gpu The device.
   * @param policy Sizes and grammar.
   * @param weights All of the policy's arrays.
   * @param options How the engine divides its work.
   * @throws {RangeError} The engine cannot serve the policy, or a weight does not fit.
   * @throws {GpuMemoryError} The device has no room.
   * @throws {GpuLostError} The device has gone.
   */
  static async create(
    gpu: GpuDevice,
    policy: Pick<ActorCritic, "shape" | "grammar">,
    weights: DecoderWeights,
    options: EngineOptions = {},
  ): Promise<PolicyEngine> {
    const matrices = new Map<string, QuantizedTensor>();
    const floats = new Map<string, HostTensor>();
    for (const [path, tensor] of weights.backbone) {
      if ("bits" in tensor) matrices.set(path, tensor);
      else floats.set(path, tensor);
    }
    for (const [path, tensor] of weights.valueHead) {
      const name = CRITIC_PATHS + path;
      floats.set(name, { ...tensor, name });
    }
    const all = { matrices, floats };
    const ours = { ...options, storage: weights.storage };
    using stack = new DisposableStack();
    const engine = stack.use(await DecodeEngine.create(gpu, engineModelOf(policy), all, ours));
    // What the language model's products were found to do best, pictures' do best as well.
    const seeing = { ...ours, tuning: engine.tuning };
    const vision = stack.use(await VisionEncoder.create(gpu, visionModelOf(policy), all, seeing));
    const clock = PhaseClock.open(gpu, 3);
    stack.move();
    return new PolicyEngine(vision, engine, policy.grammar.minTokens, clock);
  }

  /** A phrase for people. */
  get description(): string {
    return `the decode engine (${(this.gpuBytes / 2 ** 20).toFixed(0)} MiB of GPU memory)`;
  }

  /** Where its time went. The parts are those of the chunks that were clocked. */
  get times(): DecoderTimes {
    const [chunks, chunkMs] = [Math.max(0, this.#chunks), this.#chunkMs];
    const { chunkMs: clockedMs, visionMs, prefillMs } = this.#clocked;
    if (clockedMs === 0) {
      return { chunks, chunkMs, visionMs: null, prefillMs: null, decodeMs: null };
    }
    const share = (ms: number) => chunkMs * ms / clockedMs;
    return {
      chunks,
      chunkMs,
      visionMs: share(visionMs),
      prefillMs: share(prefillMs),
      decodeMs: share(clockedMs - visionMs - prefillMs),
    };
  }

  /** Which of its kernels were found to be fastest; undefined if nobody looked. */
  get tuning(): Tuning | undefined {
    return this.#engine.tuning;
  }

  /** Its two parts, for measurements; they stay its own. */
  get parts(): { readonly vision: VisionEncoder; readonly engine: DecodeEngine } {
    return { vision: this.#vision, engine: this.#engine };
  }

  /** GPU memory that it holds, in bytes. */
  get gpuBytes(): number {
    return this.#vision.gpuBytes + this.#engine.gpuBytes;
  }

  /** Sample a chunk. See {@link ChunkDecoder.sample}. */
  sample(input: DecoderInput, sampling: DecoderSampling): Promise<DecodedChunk> {
    return this.#inTurn(async () => {
      const clock = this.#chunks % CLOCKED_EVERY === 0 ? this.#clock : null;
      const start = performance.now();
      this.#prefill(input, clock);
      const chunk = await this.#engine.sample(sampling);
      const tookMs = performance.now() - start;
      if (this.#chunks++ < 0) return chunk;
      this.#chunkMs += tookMs;
      if (clock) await this.#readClock(clock, tookMs);
      return chunk;
    });
  }

  /** Value an observation. See {@link ChunkDecoder.observationValue}. */
  observationValue(input: DecoderInput): Promise<number> {
    return this.#inTurn(() => {
      this.#prefill(input, null);
      return this.#engine.observationValue(this.#minTokens);
    });
  }

  /** Check new weights. See {@link ChunkDecoder.check}. */
  check(weights: readonly HostTensor[]): void {
    const { pictures, words } = this.#split(weights);
    this.#vision.checkWeights(pictures);
    this.#engine.checkWeights(words);
  }

  /** Write new weights. See {@link ChunkDecoder.assign}. */
  assign(weights: readonly HostTensor[]): void {
    const { pictures, words } = this.#split(weights);
    this.#vision.checkWeights(pictures);
    this.#engine.updateWeights(words);
    this.#vision.updateWeights(pictures);
  }

  #split(weights: readonly HostTensor[]): { pictures: HostTensor[]; words: HostTensor[] } {
    const { pictures = [], words = [] } = Object.groupBy(
      weights,
      ({ name }) => this.#visionNames.has(name) ? "pictures" : "words",
    );
    return { pictures, words };
  }

  /** Free its buffers. */
  [Symbol.dispose](): void {
    this.#clock?.[Symbol.dispose]();
    this.#vision[Symbol.dispose]();
    this.#engine[Symbol.dispose]();
  }

  #prefill({ images, prompt, forced }: DecoderInput, clock: PhaseClock | null): void {
    clock?.mark(0);
    const { tokens, version } = this.#vision.encode(images);
    clock?.mark(1);
    this.#engine.prefill({ imageTokens: tokens, imagesVersion: version, prompt, forced });
    clock?.mark(2);
  }

  async #readClock(clock: PhaseClock, tookMs: number): Promise<void> {
    clock.mark(3);
    const shares = await clock.shares();
    if (shares === null) return;
    this.#clocked.chunkMs += tookMs;
    this.#clocked.visionMs += tookMs * shares[0];
    this.#clocked.prefillMs += tookMs * shares[1];
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    // After a failure nobody knows which commands the device obeyed: no token counts as computed.
    this.#turn = done.catch(() => this.#vision.invalidate());
    return done;
  }
}

/**
 * Check that an engine can serve a policy on a device.
 *
 * @param gpu The device.
 * @param policy Sizes and grammar.
 * @throws {RangeError} It cannot; the sentence says why.
 */
export function checkPolicy(
  gpu: GpuDevice,
  policy: Pick<ActorCritic, "shape" | "grammar">,
): void {
  if (policy.shape.constrainedDecoding === false) {
    throw new RangeError("Cannot decode any token with the engine: it always constrains; use tfjs");
  }
  checkVisionModel(visionModelOf(policy));
  checkModel(engineModelOf(policy), gpu.device.limits);
}
