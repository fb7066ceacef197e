/**
 * The image encoder of the policy on the GPU, for acting: pictures in, image tokens out, in a buffer that
 * the decode engine takes. See README.md of this folder.
 *
 * Letters: I image tokens of all cameras, D width of the language model.
 *
 * @module
 */

import { GpuMemoryError } from "../device/errors.ts";
import type { GpuDevice } from "../device/gpu_device.ts";
import { tokensPerImage } from "../policy/variants.ts";
import type { StoragePlan } from "../policy/parameters.ts";
import { matrixLayout } from "../quant/matrix_layout.ts";
import type { QuantizedTensor, QuantizedWeights } from "../quant/quantized_tensor.ts";
import type { HostTensor, RgbImage } from "../types.ts";
import { createMatmulChoice, type MatmulChoice, type MatmulFormat } from "./bind_matmul.ts";
import { GpuBuffers } from "./gpu_buffers.ts";
import { type Dispatch, KernelCache, record } from "./kernel.ts";
import type { WeightBits } from "./packed_rows.ts";
import type { Tuning } from "./tuner.ts";
import { batchWords, createVisionBuffers, type VisionBuffers } from "./vision_buffers.ts";
import { checkVisionModel, imageTokensOf, type VisionModel } from "./vision_model.ts";
import { SeenPictures } from "./vision_pictures.ts";
import { planVision } from "./vision_plan.ts";
import { VisionWeights } from "./vision_weights.ts";
import { pictureWords } from "./wgsl/patches.ts";

/** How an image encoder is kept; defaults serve everywhere. */
export interface VisionOptions {
  /**
   * How matrices are kept that are given in float32: as they are by default. Matrices that are given in
   * few bits stay so.
   */
  readonly storage?: StoragePlan;
  /** What was found to be fastest, such as a decode engine's tuning: of it, the format of products. */
  readonly tuning?: Pick<Tuning, "matmul">;
  /** What products round their inputs to, whatever the tuning says; nothing by default. */
  readonly matmul?: MatmulFormat;
  /** Matrices are split at so many bytes; the device's limit by default. */
  readonly maxBindingBytes?: number;
}

/** Image tokens on the GPU. */
export interface EncodedImages {
  /** `[I, D]`, all cameras in order: always the encoder's same buffer. */
  readonly tokens: GPUBuffer;
  /** Greater than before if and only if the tokens are computed anew, in whole or in part. */
  readonly version: number;
}

const BITS: Readonly<Record<StoragePlan["precision"], WeightBits>> = {
  float32: 32,
  int8: 8,
  int4: 4,
};

/** An image encoder. Owner of its buffers; the device stays its maker's. */
export class VisionEncoder implements Disposable {
  /** What it encodes. */
  readonly model: VisionModel;
  readonly #gpu: GpuDevice;
  readonly #owned: GpuBuffers;
  readonly #weights: VisionWeights;
  readonly #buffers: VisionBuffers;
  readonly #plan: readonly Dispatch[];
  readonly #seen: SeenPictures;
  #version = 0;

  private constructor(
    gpu: GpuDevice,
    model: VisionModel,
    owned: GpuBuffers,
    weights: VisionWeights,
    buffers: VisionBuffers,
    plan: readonly Dispatch[],
  ) {
    this.#gpu = gpu;
    this.model = model;
    this.#owned = owned;
    this.#weights = weights;
    this.#buffers = buffers;
    this.#plan = plan;
    this.#seen = new SeenPictures(model);
  }

  /**
   * Make an image encoder: upload the weights, compile and bind every kernel.
   *
   * @param gpu The device.
   * @param model Sizes.
   * @param weights All weights of the encoder, by openpi's paths; others are left out. A matrix is kept
   *   as it is given, in few bits or in float32, unless the options say otherwise.
   * @param options How it is kept.
   * @throws {RangeError} If the model or a weight does not fit.
   * @throws {GpuMemoryError} If the device has no room.
   * @throws {GpuLostError} If the device has gone.
   */
  static async create(
    gpu: GpuDevice,
    model: VisionModel,
    weights: QuantizedWeights,
    options: VisionOptions = {},
  ): Promise<VisionEncoder> {
    checkVisionModel(model);
    gpu.check();
    using stack = new DisposableStack();
    const owned = stack.use(new GpuBuffers(gpu.device));
    const { ours, buffers, products } = await makeRoom(gpu, model, weights, owned, options);
    for (const name of ours.names) ours.write(weightOf(weights, name));
    const plan = await planVision(new KernelCache(gpu.device), model, ours, buffers, products);
    gpu.check();
    stack.move();
    return new VisionEncoder(gpu, model, owned, ours, buffers, plan);
  }

  /** Kernels of one call of {@link encode}, whatever number of pictures has changed. */
  get dispatches(): number {
    return this.#plan.length;
  }

  /** GPU memory that it holds, in bytes. */
  get gpuBytes(): number {
    return this.#owned.bytes;
  }

  /** Bytes of its matrices, which one call of {@link encode} reads. */
  get weightBytes(): number {
    return this.#weights.bytes;
  }

  /** Buffers made so far. It does not grow while pictures are encoded. */
  get buffersCreated(): number {
    return this.#owned.created;
  }

  /** Names of the weights, with openpi's paths. */
  get weightNames(): string[] {
    return this.#weights.names;
  }

  /** Version of the image tokens as {@link encode} told it last; 0 before the first. */
  get version(): number {
    return this.#version;
  }

  /**
   * Encode the pictures that are not those of the last call. Returns once the work is submitted; numbers
   * that are not finite show in the logits of whoever reads the tokens.
   *
   * @param images A picture a camera, in order, of the size that the model sees.
   * @returns The tokens of all cameras.
   * @throws {RangeError} If there is another number of pictures, or one has another size; the tokens are
   *   as they were then.
   * @throws {GpuLostError} If the device has gone.
   * @throws {Error} If the device has refused an earlier command; all is encoded anew next time.
   */
  encode(images: readonly RgbImage[]): EncodedImages {
    const changed = this.#seen.look(images);
    try {
      this.#gpu.check();
      if (changed.length > 0) this.#submit(changed);
    } catch (error) {
      this.invalidate();
      throw error;
    }
    return { tokens: this.#buffers.tokens, version: this.#version };
  }

  /** Encode every picture anew next time, be it that of the last call. */
  invalidate(): void {
    this.#seen.forget();
  }

  /**
   * Check that weights can be written; nothing is.
   *
   * @param tensors As {@link updateWeights} takes them.
   * @throws {RangeError} If a name, a shape or a number of bits is not the encoder's.
   */
  checkWeights(tensors: Iterable<HostTensor | QuantizedTensor>): void {
    for (const tensor of tensors) this.#weights.check(tensor);
  }

  /**
   * Write new weights. Nothing is rebuilt. If there are any, every picture is encoded anew next
   * time.
   *
   * @param tensors Whole arrays with names among {@link weightNames}. Float32 matrices are quantised if
   *   they are kept so.
   * @throws {RangeError} As {@link checkWeights} does; nothing has been written then.
   */
  updateWeights(tensors: Iterable<HostTensor | QuantizedTensor>): void {
    const all = [...tensors];
    this.checkWeights(all);
    if (all.length > 0) this.invalidate();
    for (const tensor of all) this.#weights.write(tensor);
  }

  #submit(cameras: readonly number[]): void {
    const { device } = this.#gpu;
    const { siglip } = this.model;
    const perImage = tokensPerImage(siglip);
    const stride = 4 * pictureWords(siglip);
    for (const camera of cameras) {
      const bytes = this.#seen.bytes(camera);
      device.queue.writeBuffer(this.#buffers.pixels, camera * stride, bytes);
    }
    device.queue.writeBuffer(this.#buffers.places, 0, batchWords(cameras, perImage));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    record(pass, this.#plan, cameras.length * perImage);
    pass.end();
    device.queue.submit([encoder.finish()]);
    this.#version++;
  }

  /** Free its buffers. */
  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}

function weightOf(
  { matrices, floats }: QuantizedWeights,
  name: string,
): HostTensor | QuantizedTensor {
  const tensor = matrices.get(name) ?? floats.get(name);
  if (tensor) return tensor;
  throw new RangeError(`Cannot make an image encoder: ${name} is missing`);
}

/** What an image encoder's kernels are bound to. */
interface VisionRoom {
  readonly ours: VisionWeights;
  readonly buffers: VisionBuffers;
  readonly products: MatmulChoice;
}

/** Make all buffers, or none if there is no room for one. */
async function makeRoom(
  gpu: GpuDevice,
  model: VisionModel,
  weights: QuantizedWeights,
  owned: GpuBuffers,
  { storage = { precision: "float32" }, tuning, matmul, maxBindingBytes }: VisionOptions,
): Promise<VisionRoom> {
  const bitsOf = (path: string) => {
    const tensor = weightOf(weights, path);
    if (!("data" in tensor)) return tensor.bits;
    const isKept = matrixLayout(path, tensor.shape, storage.quantized) === undefined;
    return isKept ? 32 : BITS[storage.precision];
  };
  const { width, mlpDim } = model.siglip;
  let made: VisionRoom;
  let scope: Promise<GPUError | null>;
  // The stack of scopes is the device's: nothing may come between push and pop.
  gpu.device.pushErrorScope("out-of-memory");
  try {
    const ours = new VisionWeights(model, bitsOf, owned, maxBindingBytes);
    const format = matmul ?? tuning?.matmul ?? "float32";
    const longest = Math.max(width, mlpDim);
    made = {
      ours,
      buffers: createVisionBuffers(model, owned),
      products: createMatmulChoice(owned, format, imageTokensOf(model), longest),
    };
  } finally {
    scope = gpu.device.popErrorScope();
  }
  const problem = await scope;
  if (!problem) return made;
  throw new GpuMemoryError(
    `Cannot make an image encoder: ${gpu.info.name} has no room for ${owned.bytes} bytes ` +
      `(${problem.message}); close other programs that use the GPU, or use a smaller policy`,
    { cause: problem },
  );
}
