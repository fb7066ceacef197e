/**
 * The language model of the policy on the GPU, for acting: weights in few bits or float32, a fixed
 * cache, pipelines and bind groups made once. See README.md of this folder.
 *
 * Letters: I image tokens, D width, S decoded action tokens.
 *
 * @module
 */

import type { GpuDevice } from "../device/gpu_device.ts";
import { withinMs } from "../device/within_ms.ts";
import { type SequenceLayout, textIds } from "../policy/sequence.ts";
import type { QuantizedTensor, QuantizedWeights } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import { OUTCOME_BYTES, STATE_BYTES, VALUE_BYTES } from "./engine_buffers.ts";
import { capacityOf, type EngineModel } from "./engine_model.ts";
import { type EngineOptions, type EngineParts, makeParts } from "./engine_parts.ts";
import {
  type EnginePrefix,
  layOutPrefix,
  placeWords,
  prefixKey,
  writeImageTokens,
} from "./engine_prefix.ts";
import { type EngineSample, type EngineSampling, readSample, readValue } from "./engine_sample.ts";
import { record } from "./kernel.ts";
import type { Tuning } from "./tuner.ts";
import { DECODE_STATE } from "./wgsl/shared.ts";

export type { EngineOptions } from "./engine_parts.ts";

const DEFAULT_STEPS_PER_SUBMIT = 8;

/** How long a failed chunk waits to hear that the device has gone. */
const LOSS_NOTICE_MS = 20;

type Phase = "empty" | "prefilled" | "sampling";

/** A decode engine. Owner of its buffers; the device stays its maker's. */
export class DecodeEngine implements Disposable {
  /** What it decodes. */
  readonly model: EngineModel;
  /** What was found to be fastest; undefined if nobody looked. */
  readonly tuning: Tuning | undefined;
  readonly #gpu: GpuDevice;
  readonly #parts: EngineParts;
  readonly #stepsPerSubmit: number;
  #phase: Phase = "empty";
  #place = 0; // of the token that decoding begins with
  #cached: string | undefined; // key of the prefix that the cache holds

  private constructor(
    gpu: GpuDevice,
    model: EngineModel,
    parts: EngineParts,
    stepsPerSubmit: number,
  ) {
    this.#gpu = gpu;
    this.model = model;
    this.tuning = parts.tuning;
    this.#parts = parts;
    this.#stepsPerSubmit = stepsPerSubmit;
  }

  /**
   * Make an engine: upload the weights, compile and bind every kernel.
   *
   * @param gpu The device.
   * @param model Sizes and grammar.
   * @param weights All weights of the language model with its adapters, such as
   *   {@link QuantizedWeights}, and those of the critic below `value_head/`; others are left out.
   * @param options How work is divided.
   * @throws {RangeError} If the model or a weight does not fit.
   * @throws {GpuMemoryError} If the device has no room.
   * @throws {GpuLostError} If the device has gone.
   */
  static async create(
    gpu: GpuDevice,
    model: EngineModel,
    weights: QuantizedWeights,
    options: EngineOptions = {},
  ): Promise<DecodeEngine> {
    const parts = await makeParts(gpu, model, weights, options);
    return new DecodeEngine(gpu, model, parts, options.stepsPerSubmit ?? DEFAULT_STEPS_PER_SUBMIT);
  }

  /** Kernels of one decode step. */
  get dispatchesPerToken(): number {
    return this.#parts.plans.decode.length;
  }

  /** Weight bytes that a decode step reads. */
  get weightBytesPerToken(): number {
    return this.#parts.parameters.bytesPerToken;
  }

  /** GPU memory that it holds, in bytes. */
  get gpuBytes(): number {
    return this.#parts.owned.bytes;
  }

  /** Buffers made so far. It does not grow while chunks are decoded. */
  get buffersCreated(): number {
    return this.#parts.owned.created;
  }

  /** Different pipelines compiled. None is once the engine is made. */
  get pipelines(): number {
    return this.#parts.plans.kernels.size;
  }

  /** Names of all weights: openpi's paths, the critic's below `value_head/`. */
  get weightNames(): string[] {
    return this.#parts.parameters.names;
  }

  /**
   * Check that weights can be written.
   *
   * @param tensors Whole arrays.
   * @throws {RangeError} If a name or a shape is not the engine's.
   */
  checkWeights(tensors: Iterable<HostTensor | QuantizedTensor>): void {
    for (const tensor of tensors) this.#parts.parameters.check(tensor);
  }

  /**
   * Write new weights, between two chunks. Nothing is rebuilt; what was prefilled is void.
   *
   * @param tensors Whole arrays with names among {@link weightNames}; they become what the engine keeps.
   * @throws {RangeError} If a name or a shape is not the engine's; nothing has been written then.
   * @throws {GpuLostError} If the device has gone.
   * @throws {Error} If a chunk is being decoded.
   */
  updateWeights(tensors: Iterable<HostTensor | QuantizedTensor>): void {
    this.#refuse("update weights");
    const all = [...tensors];
    this.checkWeights(all);
    this.#phase = "empty";
    this.#cached = undefined;
    for (const tensor of all) {
      this.#parts.parameters.write(tensor);
      // Copied to the GPU while the next one is written, and not only with the next chunk.
      this.#gpu.device.queue.submit([]);
    }
  }

  /**
   * Run the prefix and keep its keys and values. Returns once the work is submitted. A prefix that is
   * known to be the last one, since the caller gave its pictures the same version, is still in the
   * cache: decoding writes behind it.
   *
   * @param prefix Image tokens and prompt.
   * @returns Whether it had to be computed.
   * @throws {RangeError} If sizes do not fit the model.
   * @throws {GpuLostError} If the device has gone.
   * @throws {Error} If a chunk is being decoded.
   */
  prefill(prefix: EnginePrefix): boolean {
    this.#refuse("prefill");
    const { layout, ids } = layOutPrefix(this.model, prefix);
    const key = prefixKey(prefix);
    const isCached = key !== undefined && key === this.#cached;
    if (!isCached) {
      this.#cached = undefined;
      this.#phase = "empty";
      this.#runPrefix(prefix, layout, textIds(layout, ids, []));
      this.#cached = key;
    }
    this.#place = layout.length - 1;
    this.#phase = "prefilled";
    return !isCached;
  }

  #runPrefix(prefix: EnginePrefix, layout: SequenceLayout, text: Int32Array): void {
    const { device } = this.#gpu;
    const { queue } = device;
    const { imageTokens: I } = this.model;
    const encoder = device.createCommandEncoder();
    writeImageTokens(device, encoder, this.model, prefix.imageTokens, this.#parts.buffers.prefix.x);
    queue.writeBuffer(this.#parts.buffers.places, 0, placeWords(this.model, layout));
    // All text but the last forced word, which the first decode step feeds.
    const head = text.length - 1;
    queue.writeBuffer(
      this.#parts.buffers.ids,
      0,
      Uint32Array.of(head, I, ...text.subarray(0, head)),
    );
    queue.writeBuffer(this.#parts.buffers.firstId, 0, Uint32Array.of(1, 0, text[head]));
    const pass = encoder.beginComputePass();
    record(pass, this.#parts.plans.prefill.embedText, head);
    record(pass, this.#parts.plans.prefill.layers, layout.length - 1);
    pass.end();
    queue.submit([encoder.finish()]);
  }

  /**
   * Decode a chunk behind the prefix. Steps are submitted a few at a time; while the GPU computes some,
   * the host looks whether those before them have completed the chunk. The prefix is used up.
   *
   * @param sampling How to draw.
   * @returns The chunk.
   * @throws {RangeError} If the budget does not fit the grammar or the cache, or the temperature is
   *   negative.
   * @throws {NonFiniteError} If a logit is not finite.
   * @throws {GpuLostError} If the device has gone.
   * @throws {Error} If nothing has been prefilled, or the device refused a command.
   */
  async sample(sampling: EngineSampling): Promise<EngineSample> {
    const { maxTokens } = sampling;
    this.#writeStart(sampling);
    const onTheirWay: Promise<EngineSample | null>[] = [];
    return await this.#decoding(onTheirWay, async () => {
      let found: EngineSample | null = null;
      for (let step = 0, turn = 0; step < maxTokens && !found; turn++) {
        const count = Math.min(this.#stepsPerSubmit, maxTokens - step);
        const result = this.#submit(step, count, turn, readSample);
        result.catch(() => {}); // whoever awaits it hears of it; perhaps an earlier one has failed
        onTheirWay.push(result);
        step += count;
        // One block stays ahead, so that the GPU does not wait for the host.
        if (onTheirWay.length === this.#parts.buffers.staging.length) {
          found = await onTheirWay.shift()!;
        }
      }
      for (const result of onTheirWay) found = await result ?? found;
      this.#gpu.check();
      if (!found) throw new Error(`The chunk is not complete after ${maxTokens} tokens`);
      return found;
    });
  }

  /**
   * Value of what was prefilled, without a chunk: to bootstrap where an episode was cut off. The
   * `chunk` critic is asked about a chunk taken greedily, as `ActorCritic.observationValues` does. The
   * prefix is used up.
   *
   * @param maxTokens Token budget of the grammar.
   * @returns The critic's value; 0 if the model has no critic.
   * @throws {Error} As {@link sample} does.
   */
  async observationValue(maxTokens: number): Promise<number> {
    const greedy = { temperature: 0, random: () => 0, maxTokens };
    if (this.model.critic?.input === "chunk") return (await this.sample(greedy)).value;
    this.#writeStart(greedy);
    return await this.#decoding([], async () => {
      const value = await this.#submit(0, 1, 0, readValue);
      this.#gpu.check();
      return value;
    });
  }

  /** Run some decoding that uses the prefix up. If it fails, what the cache holds is in doubt. */
  async #decoding<T>(
    onTheirWay: readonly Promise<unknown>[],
    decode: () => Promise<T>,
  ): Promise<T> {
    this.#phase = "sampling";
    try {
      return await decode();
    } catch (error) {
      this.#cached = undefined;
      // The loss of a device is known a moment after the commands that it swallowed.
      await withinMs(this.#gpu.lost, LOSS_NOTICE_MS);
      this.#gpu.check();
      throw error;
    } finally {
      await Promise.allSettled(onTheirWay);
      this.#phase = "empty";
    }
  }

  /**
   * Run the first decode step behind the prefix several times and wait for the last: for measurements,
   * which subtract two counts so that only the steps remain. The prefix is used up.
   *
   * @param count Steps.
   * @throws {Error} As {@link sample} does.
   */
  async repeatStep(count: number): Promise<void> {
    this.#writeStart({ temperature: 0, random: () => 0, maxTokens: this.model.grammar.minTokens });
    this.#phase = "empty";
    const { state, startState } = this.#parts.buffers;
    const encoder = this.#gpu.device.createCommandEncoder();
    this.#feedFirst(encoder);
    for (let i = 0; i < count; i++) {
      encoder.copyBufferToBuffer(startState, 0, state, 0, STATE_BYTES);
      const pass = encoder.beginComputePass();
      record(pass, this.#parts.plans.decode, this.#place + 1);
      pass.end();
    }
    this.#gpu.device.queue.submit([encoder.finish()]);
    await this.#gpu.device.queue.onSubmittedWorkDone();
    this.#gpu.check();
  }

  #refuse(verb: string): void {
    if (this.#gpu.isLost) this.#gpu.check();
    if (this.#phase !== "sampling") return;
    throw new Error(`Cannot ${verb}: the engine is decoding a chunk; await sample() first`);
  }

  #writeStart({ temperature, random, maxTokens }: EngineSampling): void {
    if (this.#phase !== "prefilled") {
      throw new Error(
        this.#phase === "sampling"
          ? "Cannot sample: the engine is decoding another chunk; await that one first"
          : "Cannot sample: nothing has been prefilled since the last chunk; call prefill() first",
      );
    }
    if (!(temperature >= 0 && temperature < Infinity)) {
      throw new RangeError(
        `Cannot sample at temperature ${temperature}: it must be finite and ≥ 0`,
      );
    }
    const { remaining, pending, budget } = this.model.grammar.start(maxTokens);
    const capacity = capacityOf(this.model);
    if (this.#place + maxTokens > capacity || maxTokens > this.model.maxTextTokens) {
      throw new RangeError(
        `Cannot sample ${maxTokens} tokens behind a prefix of ${this.#place + 1}: the cache has ` +
          `${capacity} places`,
      );
    }
    const { queue } = this.#gpu.device;
    const start = { place: this.#place, remaining, pending, budget };
    const words = DECODE_STATE.map((word) => word in start ? start[word as keyof typeof start] : 0);
    queue.writeBuffer(this.#parts.buffers.state, 0, Uint32Array.from(words));
    queue.writeBuffer(this.#parts.buffers.startState, 0, Uint32Array.from(words));
    const isGreedy = temperature === 0;
    const choice = new ArrayBuffer(16);
    new Float32Array(choice)[0] = isGreedy ? 1 : 1 / temperature;
    new Uint32Array(choice)[1] = Number(isGreedy);
    queue.writeBuffer(this.#parts.buffers.choice, 0, choice);
    if (isGreedy) return;
    const numbers = Float32Array.from({ length: maxTokens }, random);
    queue.writeBuffer(this.#parts.buffers.uniforms, 0, numbers);
  }

  /** Put the embedding of the last forced word where decode steps begin. */
  #feedFirst(encoder: GPUCommandEncoder): void {
    const pass = encoder.beginComputePass();
    record(pass, this.#parts.plans.prefill.embedFirst, 1);
    pass.end();
  }

  /** Submit some steps and the critic, and read what they have left. */
  async #submit<T>(
    step: number,
    count: number,
    turn: number,
    read: (bytes: ArrayBuffer) => T,
  ): Promise<T> {
    const { state, outcomes, staging } = this.#parts.buffers;
    const encoder = this.#gpu.device.createCommandEncoder();
    if (step === 0) this.#feedFirst(encoder);
    const pass = encoder.beginComputePass();
    for (let s = step; s < step + count; s++) {
      record(pass, this.#parts.plans.decode, this.#place + s + 1);
    }
    record(pass, this.#parts.plans.critic, 0);
    pass.end();
    const target = staging[turn % staging.length];
    const outcomeBytes = (step + count) * OUTCOME_BYTES;
    const bytes = STATE_BYTES + VALUE_BYTES + outcomeBytes;
    encoder.copyBufferToBuffer(state, 0, target, 0, STATE_BYTES);
    encoder.copyBufferToBuffer(
      this.#parts.parameters.critic.value,
      0,
      target,
      STATE_BYTES,
      VALUE_BYTES,
    );
    encoder.copyBufferToBuffer(outcomes, 0, target, STATE_BYTES + VALUE_BYTES, outcomeBytes);
    this.#gpu.device.queue.submit([encoder.finish()]);
    await target.mapAsync(GPUMapMode.READ, 0, bytes);
    try {
      return read(target.getMappedRange(0, bytes));
    } finally {
      target.unmap();
    }
  }

  /** Free its buffers. */
  [Symbol.dispose](): void {
    this.#parts.owned[Symbol.dispose]();
  }
}
