/**
 * The language model of the policy on the GPU, for acting: int8 weights, a fixed cache, pipelines and
 * bind groups made once. See README.md of this folder.
 *
 * Letters: I image tokens, D width, S decoded action tokens.
 *
 * @module
 */

import type { GpuDevice } from "../device/gpu_device.ts";
import { GpuMemoryError } from "../device/errors.ts";
import { NonFiniteError } from "../device/check_finite.ts";
import {
  decodeMask,
  layOut,
  positionIds,
  type PrefixIds,
  type SequenceLayout,
  textIds,
} from "../policy/sequence.ts";
import type { QuantizedTensor, QuantizedWeights } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import { planDecode } from "./decode_plan.ts";
import {
  createEngineBuffers,
  type EngineBuffers,
  OUTCOME_BYTES,
  STATE_BYTES,
} from "./engine_buffers.ts";
import { capacityOf, checkModel, type EngineModel } from "./engine_model.ts";
import { EngineWeights } from "./engine_weights.ts";
import { GpuBuffers } from "./gpu_buffers.ts";
import { type Dispatch, KernelCache, record } from "./kernel.ts";
import { paddedColumns } from "./packed_rows.ts";
import { planPrefill, type PrefillPlan } from "./prefill_plan.ts";
import { DEFAULT_MATVEC, type MatvecShape } from "./wgsl/matvec.ts";
import { DECODE_STATE, FAULT, PLACES_HEADER_WORDS } from "./wgsl/shared.ts";

/** How an engine divides its work; defaults serve everywhere. */
export interface EngineOptions {
  /** Shape of the products of a decode step. */
  readonly matvec?: MatvecShape;
  /** Decode steps of one submission: 8 by default. */
  readonly stepsPerSubmit?: number;
  /** Matrices are split at so many bytes; the device's limit by default. */
  readonly maxBindingBytes?: number;
}

/** What an engine is shown before it decodes. */
export interface EnginePrefix {
  /** `[I, D]` image tokens of all cameras, on the host or on the engine's device. */
  readonly imageTokens: Float32Array | GPUBuffer;
  /** Prompt ids with BOS, without padding. */
  readonly prompt: Int32Array;
  /** Ids of `Action: `, at least one. */
  readonly forced: Int32Array;
  /** One boolean a camera, as in {@link PrefixIds.cameraMasks}; all are seen if absent. */
  readonly cameraMask?: readonly boolean[];
  /** Places kept for the prompt, which is padded on the left; its own length by default. */
  readonly promptPlaces?: number;
}

/** How to draw a chunk. */
export interface EngineSampling {
  /** Above 0: sample at it. 0: take the best, with log-probabilities at temperature 1. */
  readonly temperature: number;
  /** Independent uniform numbers in [0, 1). One a token of `maxTokens` is taken before the first step. */
  readonly random: () => number;
  /** Token budget of the grammar, as in `ChunkGrammar.start`. */
  readonly maxTokens: number;
}

/** A chunk as it was drawn. */
export interface EngineSample {
  /** FAST ids `[S]`. */
  readonly tokens: Int32Array;
  /** `[S]` log-probabilities under the masked softmax, nats. */
  readonly logProbs: Float32Array;
  /** `[S]` entropies of the masked softmax, nats. */
  readonly entropies: Float32Array;
  /** `[min(S, hiddenSteps), D]`: states behind the final norm that tokens were predicted from. */
  readonly hidden: Float32Array;
}

const DEFAULT_STEPS_PER_SUBMIT = 8;

type Phase = "empty" | "prefilled" | "sampling";

/** A decode engine. Owner of its buffers; the device stays its maker's. */
export class DecodeEngine implements Disposable {
  /** What it decodes. */
  readonly model: EngineModel;
  readonly #gpu: GpuDevice;
  readonly #owned: GpuBuffers;
  readonly #weights: EngineWeights;
  readonly #buffers: EngineBuffers;
  readonly #decode: readonly Dispatch[];
  readonly #prefill: PrefillPlan;
  readonly #stepsPerSubmit: number;
  #phase: Phase = "empty";
  #place = 0; // of the token that decoding begins with

  private constructor(
    gpu: GpuDevice,
    model: EngineModel,
    owned: GpuBuffers,
    weights: EngineWeights,
    buffers: EngineBuffers,
    plans: { decode: readonly Dispatch[]; prefill: PrefillPlan },
    stepsPerSubmit: number,
  ) {
    this.#gpu = gpu;
    this.model = model;
    this.#owned = owned;
    this.#weights = weights;
    this.#buffers = buffers;
    this.#decode = plans.decode;
    this.#prefill = plans.prefill;
    this.#stepsPerSubmit = stepsPerSubmit;
  }

  /**
   * Make an engine: upload the weights, compile and bind every kernel.
   *
   * @param gpu The device.
   * @param model Sizes and grammar.
   * @param weights All weights of the language model, such as {@link QuantizedWeights}; others are left out.
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
    checkModel(model);
    gpu.check();
    using stack = new DisposableStack();
    const owned = stack.use(new GpuBuffers(gpu.device));
    gpu.device.pushErrorScope("out-of-memory");
    const places = () => {
      const ours = new EngineWeights(model, 8, owned, options.maxBindingBytes);
      return { ours, buffers: createEngineBuffers(model, owned) };
    };
    let made: ReturnType<typeof places>;
    try {
      made = places();
    } finally {
      const problem = await gpu.device.popErrorScope();
      if (problem) {
        // deno-lint-ignore no-unsafe-finally
        throw new GpuMemoryError(
          `Cannot make a decode engine: the GPU ${gpu.info.name} has no room for ${owned.bytes} ` +
            `bytes (${problem.message}); close other programs that use it`,
        );
      }
    }
    const { ours, buffers } = made;
    for (const name of ours.names) {
      const tensor = weights.matrices.get(name) ?? weights.floats.get(name);
      if (!tensor) throw new RangeError(`Cannot make a decode engine: ${name} is missing`);
      ours.write(tensor);
    }
    const kernels = new KernelCache(gpu.device);
    const matvec = options.matvec ?? DEFAULT_MATVEC;
    const decode = await planDecode(kernels, model, ours, buffers, matvec);
    const prefill = await planPrefill(kernels, model, ours, buffers);
    gpu.check();
    stack.move();
    const steps = options.stepsPerSubmit ?? DEFAULT_STEPS_PER_SUBMIT;
    return new DecodeEngine(gpu, model, owned, ours, buffers, { decode, prefill }, steps);
  }

  /** Kernels of one decode step. */
  get dispatchesPerToken(): number {
    return this.#decode.length;
  }

  /** Weight bytes that a decode step reads. */
  get weightBytesPerToken(): number {
    return this.#weights.bytesPerToken;
  }

  /** GPU memory that it holds, in bytes. */
  get gpuBytes(): number {
    return this.#owned.bytes;
  }

  /** Buffers made so far. It does not grow while chunks are decoded. */
  get buffersCreated(): number {
    return this.#owned.created;
  }

  /** Names of the weights, with openpi's paths. */
  get weightNames(): string[] {
    return this.#weights.names;
  }

  /**
   * Write new weights, between two chunks. Nothing is rebuilt; what was prefilled is void.
   *
   * @param tensors Whole arrays with names among {@link weightNames}. Float32 matrices are quantised.
   * @throws {RangeError} If a name or a shape is not the engine's; nothing has been written then.
   * @throws {Error} If a chunk is being decoded.
   */
  updateWeights(tensors: Iterable<HostTensor | QuantizedTensor>): void {
    this.#refuseWhileSampling("update weights");
    const all = [...tensors];
    for (const tensor of all) this.#weights.check(tensor);
    for (const tensor of all) this.#weights.write(tensor);
    this.#phase = "empty";
  }

  /**
   * Run the prefix and keep its keys and values. Returns once the work is submitted.
   *
   * @param prefix Image tokens and prompt.
   * @throws {RangeError} If sizes do not fit the model.
   * @throws {Error} If a chunk is being decoded.
   */
  prefill(prefix: EnginePrefix): void {
    this.#refuseWhileSampling("prefill");
    const { layout, ids } = this.#layOut(prefix);
    this.#writePlaces(layout);
    const { queue } = this.#gpu.device;
    // All text but the last forced word, which the first decode step feeds.
    const text = textIds(layout, ids, []);
    const head = text.length - 1;
    const { imageTokens: I } = this.model;
    queue.writeBuffer(this.#buffers.ids, 0, Uint32Array.of(head, I, ...text.subarray(0, head)));
    queue.writeBuffer(this.#buffers.firstId, 0, Uint32Array.of(1, 0, text[head]));
    const encoder = this.#gpu.device.createCommandEncoder();
    this.#writeImageTokens(prefix.imageTokens, encoder);
    const pass = encoder.beginComputePass();
    record(pass, this.#prefill.embedText, head);
    record(pass, this.#prefill.embedFirst, 1);
    record(pass, this.#prefill.layers, layout.length - 1);
    pass.end();
    queue.submit([encoder.finish()]);
    this.#place = layout.length - 1;
    this.#phase = "prefilled";
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
    if (this.#phase !== "prefilled") {
      throw new Error(
        this.#phase === "sampling"
          ? "Cannot sample: the engine is decoding another chunk; await that one first"
          : "Cannot sample: nothing has been prefilled since the last chunk; call prefill() first",
      );
    }
    this.#writeStart(sampling);
    this.#phase = "sampling";
    const onTheirWay: Promise<EngineSample | null>[] = [];
    try {
      let found: EngineSample | null = null;
      for (let step = 0, turn = 0; step < maxTokens && !found; turn++) {
        const count = Math.min(this.#stepsPerSubmit, maxTokens - step);
        const result = this.#submit(step, count, turn);
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
    } finally {
      await Promise.allSettled(onTheirWay);
      this.#phase = "empty";
    }
  }

  #refuseWhileSampling(verb: string): void {
    if (this.#phase !== "sampling") return;
    throw new Error(`Cannot ${verb}: the engine is decoding a chunk; await sample() first`);
  }

  #layOut(prefix: EnginePrefix): { layout: SequenceLayout; ids: PrefixIds } {
    const { prompt, forced, cameraMask, promptPlaces = prompt.length } = prefix;
    const { imageTokens: I, maxTextTokens, gemma } = this.model;
    if (forced.length === 0) {
      throw new RangeError(
        "Cannot prefill: there must be a forced word for decoding to begin with",
      );
    }
    const stray = [...prompt, ...forced].find((id) => !(id >= 0 && id < gemma.vocab));
    if (stray !== undefined) {
      throw new RangeError(`Cannot prefill: token ${stray} is not in [0, ${gemma.vocab})`);
    }
    if (promptPlaces < prompt.length || promptPlaces + forced.length >= maxTextTokens) {
      throw new RangeError(
        `Cannot prefill: ${promptPlaces} places for a prompt of ${prompt.length} tokens and ` +
          `${forced.length} forced ones leave none of ${maxTextTokens} for actions`,
      );
    }
    const ids = { prompts: [prompt], forced, ...(cameraMask && { cameraMasks: [cameraMask] }) };
    const layout = layOut(I, ids, 0);
    const padding = promptPlaces - prompt.length;
    return {
      ids,
      layout: { ...layout, promptTokens: promptPlaces, length: layout.length + padding },
    };
  }

  #writePlaces(layout: SequenceLayout): void {
    const capacity = capacityOf(this.model);
    const whole = { ...layout, fedTokens: capacity - layout.length, length: capacity };
    const positions = positionIds(whole, this.model.decodePositions);
    const mask = decodeMask(whole, capacity, capacity);
    const words = new Uint32Array(PLACES_HEADER_WORDS + 2 * capacity);
    words[0] = layout.length - 1;
    words[1] = layout.imageTokens + layout.promptTokens;
    for (let place = 0; place < capacity; place++) {
      words[PLACES_HEADER_WORDS + 2 * place] = positions[place];
      words[PLACES_HEADER_WORDS + 2 * place + 1] = mask[place] === 0 ? 1 : 0;
    }
    this.#gpu.device.queue.writeBuffer(this.#buffers.places, 0, words);
  }

  #writeImageTokens(tokens: Float32Array | GPUBuffer, encoder: GPUCommandEncoder): void {
    const { imageTokens: I, gemma: { width: D } } = this.model;
    const isHost = tokens instanceof Float32Array;
    const count = isHost ? tokens.length : tokens.size / 4;
    // tfjs hands out buffers that are larger than what is in them.
    if (isHost ? count !== I * D : count < I * D) {
      throw new RangeError(
        `Cannot prefill: image tokens are ${I} × ${D} = ${I * D} numbers, these are ${count}`,
      );
    }
    const { x } = this.#buffers.prefix;
    const stride = paddedColumns(D);
    const rows = stride === D ? 1 : I;
    const size = stride === D ? I * D : D;
    for (let i = 0; i < rows; i++) {
      if (isHost) {
        const row = tokens.slice(i * size, (i + 1) * size);
        this.#gpu.device.queue.writeBuffer(x, 4 * i * stride, row);
      } else {
        encoder.copyBufferToBuffer(tokens, 4 * i * size, x, 4 * i * stride, 4 * size);
      }
    }
  }

  #writeStart({ temperature, random, maxTokens }: EngineSampling): void {
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
    const isGreedy = temperature === 0;
    const choice = new ArrayBuffer(16);
    new Float32Array(choice)[0] = isGreedy ? 1 : 1 / temperature;
    new Uint32Array(choice)[1] = Number(isGreedy);
    queue.writeBuffer(this.#buffers.choice, 0, choice);
    if (isGreedy) return;
    const numbers = Float32Array.from({ length: maxTokens }, random);
    queue.writeBuffer(this.#buffers.uniforms, 0, numbers);
  }

  /** Submit some steps and read what has been drawn so far: the chunk, or null if it goes on. */
  async #submit(step: number, count: number, turn: number): Promise<EngineSample | null> {
    const { state, outcomes, hidden, staging } = this.#buffers;
    const encoder = this.#gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let s = step; s < step + count; s++) record(pass, this.#decode, this.#place + s + 1);
    pass.end();
    const target = staging[turn % staging.length];
    const outcomeBytes = (step + count) * OUTCOME_BYTES;
    const hiddenBytes = 4 * this.model.gemma.width * Math.min(step + count, this.model.hiddenSteps);
    encoder.copyBufferToBuffer(state, 0, target, 0, STATE_BYTES);
    encoder.copyBufferToBuffer(outcomes, 0, target, STATE_BYTES, outcomeBytes);
    encoder.copyBufferToBuffer(hidden, 0, target, STATE_BYTES + outcomeBytes, hiddenBytes);
    this.#gpu.device.queue.submit([encoder.finish()]);
    await target.mapAsync(GPUMapMode.READ, 0, STATE_BYTES + outcomeBytes + hiddenBytes);
    try {
      const bytes = target.getMappedRange(0, STATE_BYTES + outcomeBytes + hiddenBytes);
      return readSample(bytes, outcomeBytes, this.model);
    } finally {
      target.unmap();
    }
  }

  /** Free its buffers. */
  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}

function readSample(
  bytes: ArrayBuffer,
  outcomeBytes: number,
  { gemma, hiddenSteps }: EngineModel,
): EngineSample | null {
  const words = new Uint32Array(bytes, 0, DECODE_STATE.length);
  const state = (word: typeof DECODE_STATE[number]) => words[DECODE_STATE.indexOf(word)];
  if (state("fault") === FAULT.notFinite) {
    throw new NonFiniteError(
      `Cannot decode a chunk: a logit of token ${state("step")} is not finite; the weights or a ` +
        "kernel are broken",
    );
  }
  if (state("fault") === FAULT.nothingAllowed) {
    throw new Error(`Cannot decode a chunk: the grammar allows no token ${state("step")}`);
  }
  if (state("is_done") === 0) return null;
  const steps = state("step");
  const outcomes = new Float32Array(bytes, STATE_BYTES, 4 * steps);
  const column = (i: number) => Float32Array.from({ length: steps }, (_, s) => outcomes[4 * s + i]);
  const kept = Math.min(steps, hiddenSteps) * gemma.width;
  return {
    tokens: Int32Array.from(column(0)),
    logProbs: column(1),
    entropies: column(2),
    hidden: new Float32Array(bytes, STATE_BYTES + outcomeBytes, kept).slice(),
  };
}
