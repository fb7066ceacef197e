/**
 * What this folder's tests share: a device, and kernels run once on numbers from the host.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { ActorCritic } from "../policy/actor_critic.ts";
import { imageTokens, startDecoding } from "../policy/network.ts";
import { drawToken } from "../policy/sampling.ts";
import { take } from "../policy/testing.ts";
import { matrixLayout } from "../quant/matrix_layout.ts";
import {
  type Bits,
  dequantizeTensor,
  type QuantizedTensor,
  type QuantizedWeights,
  quantizeTensor,
} from "../quant/quantized_tensor.ts";
import { seededRandom, uniform } from "../random.ts";
import { closingTokens } from "../tokenizer/dialect.ts";
import type { HostTensor, Observation } from "../types.ts";
import type { EnginePrefix } from "./engine_prefix.ts";
import { GpuBuffers } from "./gpu_buffers.ts";
import { type Kernel, KernelCache, record } from "./kernel.ts";
import { type PackedMatrix, packMatrices } from "../quant/packed_matrix.ts";
import { paddedColumns } from "./packed_rows.ts";

/** A device for one test. Owner of the device and of what is made through it. */
export interface TestGpu extends Disposable {
  /** The device. */
  readonly device: GPUDevice;
  /** Buffers that die with it. */
  readonly buffers: GpuBuffers;
  /** Compiles kernels, each once. */
  readonly kernels: KernelCache;
  /** Whether kernels may use subgroup operations. */
  readonly hasSubgroups: boolean;
}

/** Whether there is any adapter, a software one included. */
export async function hasAdapter(): Promise<boolean> {
  return await navigator.gpu?.requestAdapter() != null;
}

/**
 * Open a device; errors that nobody catches fail the test that disposes of it.
 * @throws {Error} If there is no adapter.
 */
export async function openTestGpu(): Promise<TestGpu> {
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) throw new Error("There is no WebGPU adapter: install mesa-vulkan-drivers");
  // Granted although adapters do not list it.
  const withSubgroups = { requiredFeatures: ["subgroups" as GPUFeatureName] };
  const device = await adapter.requestDevice(withSubgroups).catch(() => adapter.requestDevice());
  const buffers = new GpuBuffers(device);
  const errors: string[] = [];
  device.addEventListener("uncapturederror", (event) => {
    event.preventDefault();
    errors.push((event as GPUUncapturedErrorEvent).error.message);
  });
  return {
    device,
    buffers,
    kernels: new KernelCache(device),
    hasSubgroups: device.features.has("subgroups" as GPUFeatureName),
    [Symbol.dispose]() {
      buffers[Symbol.dispose]();
      device.destroy();
      if (errors.length > 0) throw new Error(`Uncaptured GPU error: ${errors[0]}`);
    },
  };
}

/** A storage buffer with numbers in it. */
export function upload(
  { buffers, device }: TestGpu,
  data: Float32Array | Int32Array | Uint32Array | Int8Array | Uint16Array,
  byteLength = data.byteLength,
): GPUBuffer {
  const buffer = buffers.storage("test", byteLength);
  const bytes = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  device.queue.writeBuffer(buffer, 0, bytes);
  return buffer;
}

/** Read a buffer back. */
export async function download({ device }: TestGpu, buffer: GPUBuffer): Promise<ArrayBuffer> {
  const { MAP_READ, COPY_DST } = GPUBufferUsage;
  const staging = device.createBuffer({ size: buffer.size, usage: MAP_READ | COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const copy = staging.getMappedRange().slice(0);
  staging.destroy();
  return copy;
}

/** Run a kernel once. */
export async function runKernel(
  { device, kernels }: TestGpu,
  kernel: Kernel,
  bound: Readonly<Record<string, GPUBuffer>>,
  x: number,
  y = 1,
): Promise<void> {
  const dispatch = await kernels.bind(kernel, bound, () => [x, y]);
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  record(pass, [dispatch], 0);
  pass.end();
  device.queue.submit([encoder.finish()]);
}

/** Uniform numbers in ±1. */
export function noise(seed: number, count: number): Float32Array<ArrayBuffer> {
  const random = seededRandom(seed);
  return Float32Array.from({ length: count }, () => uniform(random, -1, 1));
}

/** Rows of a vector batch with zeros up to a multiple of 32. */
export function padRows(rows: Float32Array, width: number): Float32Array<ArrayBuffer> {
  const count = rows.length / width;
  const stride = paddedColumns(width);
  const out = new Float32Array(count * stride);
  for (let i = 0; i < count; i++) out.set(rows.subarray(i * width, (i + 1) * width), i * stride);
  return out;
}

/** A packed matrix of random weights. */
export function randomPacked(
  seed: number,
  rows: number,
  columns: number,
  bits: Bits = 8,
): PackedMatrix {
  const random = seededRandom(seed);
  const layout = { outer: rows, contraction: columns, inner: 1, outerAxes: 1, contractionAxes: 1 };
  // Groups of different size, so that scales differ.
  const data = Float32Array.from(
    { length: rows * columns },
    (_, i) => (1 + Math.floor(i / 32) % 5) * uniform(random, -0.1, 0.1),
  );
  const tensor = quantizeTensor({ name: "test", shape: [rows, columns], data }, layout, bits);
  return packMatrices(tensor, 0, rows);
}

/** Words of a decode state, all 0 but those given. */
export function stateWords(place: number, isDone = 0): number[] {
  return [place, 0, isDone, 0, 0, 0, 0, 0];
}

/** A policy's critic as an engine wants it: below `value_head/`. */
export async function criticArrays(policy: ActorCritic): Promise<HostTensor[]> {
  const tensors = await policy.network.valueHead.toHost();
  return tensors.map((tensor) => ({ ...tensor, name: `value_head/${tensor.name}` }));
}

/**
 * Round a policy's language model to a few bits.
 *
 * @param policy Its weights become the dequantised ones.
 * @param bits Of a weight.
 * @returns The quantised weights, and the rest that an engine wants: adapters and critic among them.
 */
export async function quantizePolicy(policy: ActorCritic, bits: Bits): Promise<QuantizedWeights> {
  const matrices = new Map<string, QuantizedTensor>();
  const floats = new Map<string, HostTensor>();
  for (const tensor of await policy.network.backbone.toHost()) {
    if (!tensor.name.includes("/llm/")) continue;
    const layout = matrixLayout(tensor.name, tensor.shape);
    if (layout) matrices.set(tensor.name, quantizeTensor(tensor, layout, bits));
    else floats.set(tensor.name, tensor);
  }
  for (const tensor of await criticArrays(policy)) floats.set(tensor.name, tensor);
  policy.network.backbone.assign([...matrices.values()].map(dequantizeTensor));
  return { matrices, floats };
}

/** What a policy does with an observation, token by token. */
export interface ReferenceChunk {
  /** What the engine is to be shown. */
  readonly prefix: EnginePrefix;
  /** Its token budget. */
  readonly maxTokens: number;
  /** FAST ids. */
  readonly tokens: number[];
  /** Of each token, nats. */
  readonly logProbs: number[];
  /** Of each token, nats. */
  readonly entropies: number[];
  /** The critic's value. */
  readonly value: number;
}

/** How {@link decodeWithTfjs} draws. */
export interface ReferenceSampling {
  /** 0 takes the best. */
  readonly temperature: number;
  /** Numbers to draw with. */
  readonly random: () => number;
  /** Cameras that are seen; all if absent. */
  readonly cameraMask?: readonly boolean[];
}

/** Decode a chunk with tfjs. */
export async function decodeWithTfjs(
  policy: ActorCritic,
  observation: Observation,
  { temperature, random, cameraMask }: ReferenceSampling,
): Promise<ReferenceChunk> {
  const { network, grammar, shape: { maxTokenLen, valueInput } } = policy;
  const { images, ids } = policy.prepareInput([observation]);
  const { prompts: [prompt], forced } = ids;
  const input = { images, ids: { ...ids, ...(cameraMask && { cameraMasks: [cameraMask] }) } };
  const maxTokens = maxTokenLen - prompt.length - forced.length - closingTokens(policy.dialect);
  const seen = await take(tf.tidy(() => imageTokens(network, input)));
  const chunk = { tokens: [] as number[], logProbs: [] as number[], entropies: [] as number[] };
  using decoding = await startDecoding(network, input, maxTokens);
  for (let state = grammar.start(maxTokens);;) {
    const draw = drawToken(decoding.logits, 0, grammar.allowed(state), temperature, random);
    chunk.tokens.push(draw.token);
    chunk.logProbs.push(draw.logProb);
    chunk.entropies.push(draw.entropy);
    state = grammar.next(state, draw.token);
    if (grammar.isDone(state)) break;
    await decoding.feed([draw.token]);
  }
  const [value] = valueInput === "chunk"
    ? await decoding.finish([chunk.tokens.length])
    : decoding.values;
  const prefix = { imageTokens: seen, prompt, forced, cameraMask };
  return { ...chunk, prefix, maxTokens, value };
}
