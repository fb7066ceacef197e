/**
 * Puts a policy of random weights on the GPU.
 * @module
 */

import type { Config } from "../../../common/config/config.ts";
import type { GpuDevice } from "../../../common/device/gpu_device.ts";
import { DecodeEngine } from "../../../common/engine/decode_engine.ts";
import { randomVisionWeights } from "../../../common/engine/random_vision_weights.ts";
import { randomWeights } from "../../../common/engine/random_weights.ts";
import type { TuneOptions } from "../../../common/engine/tuner.ts";
import { VisionEncoder } from "../../../common/engine/vision_encoder.ts";
import { type PolicyVariant, VARIANTS } from "../../../common/policy/variants.ts";
import { seededRandom } from "../../../common/random.ts";
import { CAMERA_NAMES } from "../../../common/types.ts";
import type { LoadedEngines } from "./bench_model.ts";
import { makeUpModel } from "./made_up_model.ts";

/**
 * Draw weights and load them.
 *
 * @param gpu The device.
 * @param options.config Seed, sizes, and how matrices are kept.
 * @param options.prefillTokens Tokens before the actions; 0 for the usual number.
 * @param options.decodeTokens Tokens of a chunk.
 * @param options.layers Of the image encoder and of the language model; 0 for all.
 * @param options.tune How kernels are chosen.
 * @returns The policy; its load is that of weights from host memory, kernels tuned and compiled.
 * @throws {GpuMemoryError} If the device has no room.
 */
export async function loadRandom(gpu: GpuDevice, options: {
  readonly config: Pick<Config, "seed" | "variant" | "precision">;
  readonly prefillTokens: number;
  readonly decodeTokens: number;
  readonly layers: number;
  readonly tune: TuneOptions;
}): Promise<LoadedEngines> {
  const { config: { precision, seed }, tune } = options;
  const variant = withLayers(VARIANTS[options.config.variant], options.layers);
  const { siglip, gemma, quantized } = variant;
  const random = seededRandom(seed);
  const bench = makeUpModel(variant, options, random);
  const { model } = bench;
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
  return { variant, bench, vision, engine, loadMs, [Symbol.dispose]: () => owned.dispose() };
}

function withLayers(variant: PolicyVariant, layers: number): PolicyVariant {
  const { siglip, gemma } = variant;
  const of = (depth: number) => layers === 0 ? depth : Math.min(depth, layers);
  return {
    ...variant,
    siglip: { ...siglip, depth: of(siglip.depth) },
    gemma: { ...gemma, depth: of(gemma.depth) },
  };
}
