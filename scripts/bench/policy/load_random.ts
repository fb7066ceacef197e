/**
 * Puts a policy of random weights on the GPU.
 * @module
 */

import type { Precision } from "../../../common/config/config.ts";
import type { GpuDevice } from "../../../common/device/gpu_device.ts";
import { DecodeEngine } from "../../../common/engine/decode_engine.ts";
import { randomVisionWeights } from "../../../common/engine/random_vision_weights.ts";
import { randomWeights } from "../../../common/engine/random_weights.ts";
import type { TuneOptions } from "../../../common/engine/tuner.ts";
import { VisionEncoder } from "../../../common/engine/vision_encoder.ts";
import type { PolicyVariant } from "../../../common/policy/variants.ts";
import { seededRandom } from "../../../common/random.ts";
import { CAMERA_NAMES } from "../../../common/types.ts";
import type { MadeUpModel } from "./made_up_model.ts";

/** A policy on the device, and how long it took to get there. Owner of both parts. */
export interface LoadedEngines extends Disposable {
  /** Image encoder. */
  readonly vision: VisionEncoder;
  /** Language model. */
  readonly engine: DecodeEngine;
  /** Weights from host memory to the device, kernels tuned and compiled, ms. */
  readonly loadMs: number;
}

/**
 * Draw weights and load them.
 *
 * @param gpu The device.
 * @param options.variant Sizes.
 * @param options.madeUp The language model.
 * @param options.precision How matrices are kept.
 * @param options.seed Of the weights.
 * @param options.tune How kernels are chosen.
 * @throws {GpuMemoryError} If the device has no room.
 */
export async function loadRandom(gpu: GpuDevice, options: {
  readonly variant: PolicyVariant;
  readonly madeUp: MadeUpModel;
  readonly precision: Precision;
  readonly seed: number;
  readonly tune: TuneOptions;
}): Promise<LoadedEngines> {
  const { variant: { siglip, gemma, quantized }, madeUp: { model }, precision, tune } = options;
  const random = seededRandom(options.seed);
  const storage = { precision, quantized };
  const size = { siglip, width: gemma.width, cameras: CAMERA_NAMES.length };
  // Numbers are drawn before the clock starts: a checkpoint's come from its files.
  const ofLanguage = randomWeights(model, storage, random);
  const ofPictures = randomVisionWeights(size, storage, random);
  // As when a policy acts: who asks for float32 gets it in every product.
  const activations = precision === "float32" ? "float32" : "int8";
  const start = performance.now();
  using stack = new DisposableStack();
  const engine = stack.use(
    await DecodeEngine.create(gpu, model, ofLanguage, { tune: { ...tune, activations } }),
  );
  const { tuning } = engine;
  const vision = stack.use(await VisionEncoder.create(gpu, size, ofPictures, { tuning }));
  await gpu.device.queue.onSubmittedWorkDone();
  const loadMs = performance.now() - start;
  const owned = stack.move();
  return { vision, engine, loadMs, [Symbol.dispose]: () => owned.dispose() };
}
