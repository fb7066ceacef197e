/**
 * The language model of the policy on the GPU, for acting: weights in few bits or float32, a fixed
 * cache, pipelines and bind groups made once. See README.md of this folder.
 *
 * Letters: I image tokens, D width, S decoded action tokens.
 *
 * @module
 */

import type { GpuDevice } from "../device/gpu_device.ts";
import { GpuMemoryError } from "../device/errors.ts";
import { withinMs } from "../device/within_ms.ts";
import type { StoragePlan } from "../policy/parameter_store.ts";
import { type SequenceLayout, textIds } from "../policy/sequence.ts";
import type { QuantizedTensor, QuantizedWeights } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import { createMatmulChoice, type MatmulChoice, type MatmulFormat } from "./bind_matmul.ts";
import { planDecode } from "./decode_plan.ts";
import {
  createEngineBuffers,
  type EngineBuffers,
  OUTCOME_BYTES,
  STATE_BYTES,
  VALUE_BYTES,
} from "./engine_buffers.ts";
import { capacityOf, checkModel, type EngineModel } from "./engine_model.ts";
import { EngineParameters } from "./engine_parameters.ts";
import {
  type EnginePrefix,
  layOutPrefix,
  placeWords,
  prefixKey,
  writeImageTokens,
} from "./engine_prefix.ts";
import { type EngineSample, type EngineSampling, readSample, readValue } from "./engine_sample.ts";
import { GpuBuffers } from "./gpu_buffers.ts";
import { type Dispatch, KernelCache, record } from "./kernel.ts";
import { type MatrixPlan, planMatrices } from "./matrix_plan.ts";
import { planPrefill, type PrefillPlan } from "./prefill_plan.ts";
import { defaultMatvec, tune, type TuneOptions, type Tuning } from "./tuner.ts";
import type { MatvecShape } from "./wgsl/matvec.ts";
import { DECODE_STATE } from "./wgsl/shared.ts";

/** How an engine divides its work; defaults serve everywhere. */
export interface EngineOptions {
  /** What was found to be fastest, such as another engine's {@link DecodeEngine.tuning}. */
  readonly tuning?: Tuning;
  /** Find out what is fastest, unless `tuning` says it. */
  readonly tune?: TuneOptions;
  /**
   * Shape of the products of a decode step, whatever the tuning says; by default with subgroups where
   * the device has them.
   */
  readonly matvec?: MatvecShape;
  /** What products of a prefill round their inputs to, whatever the tuning says; nothing by default. */
  readonly matmul?: MatmulFormat;
  /** Decode steps of one submission: 8 by default. */
  readonly stepsPerSubmit?: number;
  /** Matrices are split at so many bytes; the device's limit by default. */
  readonly maxBindingBytes?: number;
  /** How matrices that are given in float32 are kept; as they are by default. */
  readonly storage?: StoragePlan;
}

const DEFAULT_STEPS_PER_SUBMIT = 8;

/** How long a failed chunk waits to hear that the device has gone. */
const LOSS_NOTICE_MS = 20;

interface EnginePlans {
  readonly kernels: KernelCache;
  readonly decode: readonly Dispatch[];
  readonly critic: readonly Dispatch[];
  readonly prefill: PrefillPlan;
}

type Phase = "empty" | "prefilled" | "sampling";

/** A decode engine. Owner of its buffers; the device stays its maker's. */
export class DecodeEngine implements Disposable {
  /** What it decodes. */
  readonly model: EngineModel;
  /** What was found to be fastest; undefined if nobody looked. */
  readonly tuning: Tuning | undefined;
  readonly #gpu: GpuDevice;
  readonly #owned: GpuBuffers;
  readonly #parameters: EngineParameters;
  readonly #buffers: EngineBuffers;
  readonly #plans: EnginePlans;
  readonly #stepsPerSubmit: number;
  #phase: Phase = "empty";
  #place = 0; // of the token that decoding begins with
  #cached: string | undefined; // key of the prefix that the cache holds

  private constructor(
    gpu: GpuDevice,
    model: EngineModel,
    owned: GpuBuffers,
    parameters: EngineParameters,
    buffers: EngineBuffers,
    plans: EnginePlans,
    stepsPerSubmit: number,
    tuning: Tuning | undefined,
  ) {
    this.#gpu = gpu;
    this.model = model;
    this.tuning = tuning;
    this.#owned = owned;
    this.#parameters = parameters;
    this.#buffers = buffers;
    this.#plans = plans;
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
    checkModel(model, gpu.device.limits);
    gpu.check();
    using stack = new DisposableStack();
    const owned = stack.use(new GpuBuffers(gpu.device));
    const { parameters, buffers } = await makeRoom(
      gpu,
      model,
      planMatrices(weights, options.storage),
      owned,
      options.maxBindingBytes,
    );
    for (const name of parameters.names) {
      const tensor = weights.matrices.get(name) ?? weights.floats.get(name);
      if (!tensor) throw new RangeError(`Cannot make a decode engine: ${name} is missing`);
      parameters.write(tensor);
    }
    const kernels = new KernelCache(gpu.device);
    const { layers } = parameters.weights;
    const tuning = options.tuning ??
      (options.tune && await tune(gpu, model, layers, options.tune));
    const matvec = options.matvec ?? tuning?.matvec ?? defaultMatvec(gpu);
    const matmul = options.matmul ?? tuning?.matmul ?? "float32";
    const products = await makeProducts(gpu, model, owned, matmul);
    const plans = {
      kernels,
      decode: await planDecode(kernels, model, parameters, buffers, matvec),
      critic: await parameters.critic.plan(kernels, buffers.state, buffers.hidden),
      prefill: await planPrefill(kernels, model, parameters, buffers, products),
    };
    gpu.check();
    stack.move();
    const steps = options.stepsPerSubmit ?? DEFAULT_STEPS_PER_SUBMIT;
    return new DecodeEngine(gpu, model, owned, parameters, buffers, plans, steps, tuning);
  }

  /** Kernels of one decode step. */
  get dispatchesPerToken(): number {
    return this.#plans.decode.length;
  }

  /** Weight bytes that a decode step reads. */
  get weightBytesPerToken(): number {
    return this.#parameters.bytesPerToken;
  }

  /** GPU memory that it holds, in bytes. */
  get gpuBytes(): number {
    return this.#owned.bytes;
  }

  /** Buffers made so far. It does not grow while chunks are decoded. */
  get buffersCreated(): number {
    return this.#owned.created;
  }

  /** Different pipelines compiled. None is once the engine is made. */
  get pipelines(): number {
    return this.#plans.kernels.size;
  }

  /** Names of all weights: openpi's paths, the critic's below `value_head/`. */
  get weightNames(): string[] {
    return this.#parameters.names;
  }

  /**
   * Check that weights can be written.
   *
   * @param tensors Whole arrays.
   * @throws {RangeError} If a name or a shape is not the engine's.
   */
  checkWeights(tensors: Iterable<HostTensor | QuantizedTensor>): void {
    for (const tensor of tensors) this.#parameters.check(tensor);
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
    for (const tensor of all) this.#parameters.write(tensor);
    this.#gpu.device.queue.submit([]); // the copy begins now, not with the next chunk
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
    writeImageTokens(device, encoder, this.model, prefix.imageTokens, this.#buffers.prefix.x);
    queue.writeBuffer(this.#buffers.places, 0, placeWords(this.model, layout));
    // All text but the last forced word, which the first decode step feeds.
    const head = text.length - 1;
    queue.writeBuffer(this.#buffers.ids, 0, Uint32Array.of(head, I, ...text.subarray(0, head)));
    queue.writeBuffer(this.#buffers.firstId, 0, Uint32Array.of(1, 0, text[head]));
    const pass = encoder.beginComputePass();
    record(pass, this.#plans.prefill.embedText, head);
    record(pass, this.#plans.prefill.layers, layout.length - 1);
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
        if (onTheirWay.length === this.#buffers.staging.length) found = await onTheirWay.shift()!;
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
    const { state, startState } = this.#buffers;
    const encoder = this.#gpu.device.createCommandEncoder();
    this.#feedFirst(encoder);
    for (let i = 0; i < count; i++) {
      encoder.copyBufferToBuffer(startState, 0, state, 0, STATE_BYTES);
      const pass = encoder.beginComputePass();
      record(pass, this.#plans.decode, this.#place + 1);
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
    queue.writeBuffer(this.#buffers.state, 0, Uint32Array.from(words));
    queue.writeBuffer(this.#buffers.startState, 0, Uint32Array.from(words));
    const isGreedy = temperature === 0;
    const choice = new ArrayBuffer(16);
    new Float32Array(choice)[0] = isGreedy ? 1 : 1 / temperature;
    new Uint32Array(choice)[1] = Number(isGreedy);
    queue.writeBuffer(this.#buffers.choice, 0, choice);
    if (isGreedy) return;
    const numbers = Float32Array.from({ length: maxTokens }, random);
    queue.writeBuffer(this.#buffers.uniforms, 0, numbers);
  }

  /** Put the embedding of the last forced word where decode steps begin. */
  #feedFirst(encoder: GPUCommandEncoder): void {
    const pass = encoder.beginComputePass();
    record(pass, this.#plans.prefill.embedFirst, 1);
    pass.end();
  }

  /** Submit some steps and the critic, and read what they have left. */
  async #submit<T>(
    step: number,
    count: number,
    turn: number,
    read: (bytes: ArrayBuffer) => T,
  ): Promise<T> {
    const { state, outcomes, staging } = this.#buffers;
    const encoder = this.#gpu.device.createCommandEncoder();
    if (step === 0) this.#feedFirst(encoder);
    const pass = encoder.beginComputePass();
    for (let s = step; s < step + count; s++) record(pass, this.#plans.decode, this.#place + s + 1);
    record(pass, this.#plans.critic, 0);
    pass.end();
    const target = staging[turn % staging.length];
    const outcomeBytes = (step + count) * OUTCOME_BYTES;
    const bytes = STATE_BYTES + VALUE_BYTES + outcomeBytes;
    encoder.copyBufferToBuffer(state, 0, target, 0, STATE_BYTES);
    encoder.copyBufferToBuffer(this.#parameters.critic.value, 0, target, STATE_BYTES, VALUE_BYTES);
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
    this.#owned[Symbol.dispose]();
  }
}

/** Make all buffers but those of products, or none if there is no room for one. */
async function makeRoom(
  gpu: GpuDevice,
  model: EngineModel,
  plan: MatrixPlan,
  owned: GpuBuffers,
  maxBindingBytes?: number,
): Promise<{ parameters: EngineParameters; buffers: EngineBuffers }> {
  return await within(gpu, owned, () => {
    const parameters = new EngineParameters(model, plan, owned, maxBindingBytes);
    return { parameters, buffers: createEngineBuffers(model, owned) };
  });
}

/** Make what products of a prefill need. */
async function makeProducts(
  gpu: GpuDevice,
  model: EngineModel,
  owned: GpuBuffers,
  format: MatmulFormat,
): Promise<MatmulChoice> {
  const { width, mlpDim, heads, headDim } = model.gemma;
  const widest = Math.max(width, mlpDim, heads * headDim);
  return await within(
    gpu,
    owned,
    () => createMatmulChoice(owned, format, capacityOf(model), widest),
  );
}

/** Make buffers, and say so if there is no room. */
async function within<T>(gpu: GpuDevice, owned: GpuBuffers, make: () => T): Promise<T> {
  let made: T;
  let scope: Promise<GPUError | null>;
  // The stack of scopes is the device's: nothing may come between push and pop.
  gpu.device.pushErrorScope("out-of-memory");
  try {
    made = make();
  } finally {
    scope = gpu.device.popErrorScope();
  }
  const problem = await scope;
  if (!problem) return made;
  throw new GpuMemoryError(
    `Cannot make a decode engine: ${gpu.info.name} has no room for ${owned.bytes} bytes ` +
      `(${problem.message}); close other programs that use the GPU, or use a smaller policy`,
    { cause: problem },
  );
}
