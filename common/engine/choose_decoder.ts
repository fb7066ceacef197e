/**
 * Whether the decode engine acts for a policy, or tfjs.
 *
 * @module
 */

import type { DecoderChoice } from "../config/config.ts";
import { currentGpu } from "../device/current_gpu.ts";
import type { PolicyShape } from "../policy/actor_critic.ts";
import type { ChosenDevice } from "../policy/backend.ts";
import type { DecoderSource } from "../policy/chunk_decoder.ts";
import type { StoragePlan } from "../policy/parameters.ts";
import { MATRIX_KINDS } from "../quant/matrix_layout.ts";
import type { Logger } from "../types.ts";
import type { EngineOptions } from "./decode_engine.ts";
import { isEngineWeight, PolicyEngine } from "./policy_engine.ts";

/** What {@link chooseDecoder} works with. */
export interface DecoderOptions {
  /** `--decoder`. */
  readonly choice: DecoderChoice;
  /** Where tfjs computes now. */
  readonly device: ChosenDevice;
  /** How engines divide their work. */
  readonly engine?: EngineOptions;
  /** Hears why a policy is left to tfjs. */
  readonly logger: Logger;
}

/**
 * Plan what decodes the chunks of the policies that are loaded from now on. Each engine is made on the
 * GPU that tfjs computes on at that time; where that has none any more, tfjs decodes.
 *
 * @returns What {@link loadPolicy} takes; undefined if tfjs decodes.
 * @throws {Error} `engine` was asked for, and tensors are not computed on a GPU.
 */
export function chooseDecoder(
  { choice, device, engine, logger }: DecoderOptions,
): DecoderSource | undefined {
  if (choice === "tfjs") return undefined;
  if (device.backend !== "webgpu") {
    if (choice === "auto") return undefined;
    throw new Error(
      `Cannot use --decoder engine: it runs on a GPU, and tensors are computed on ` +
        `${device.backend} (${device.reason}); use --device webgpu, or --decoder tfjs`,
    );
  }
  return {
    plan(shape, storage) {
      const gpu = currentGpu();
      if (gpu === null) return null;
      const refusal = whyNotServed(shape, storage);
      if (refusal === null) {
        return {
          holds: isEngineWeight,
          open: (policy, weights) => PolicyEngine.create(gpu, policy, weights, engine),
        };
      }
      if (choice === "engine") {
        throw new Error(`Cannot use --decoder engine: ${refusal}; use --decoder tfjs`);
      }
      logger.info(`tfjs decodes the chunks, not the engine: ${refusal}`);
      return null;
    },
  };
}

/**
 * Why an engine cannot serve a policy.
 *
 * @returns A clause; null if it can.
 */
export function whyNotServed({ variant }: PolicyShape, storage: StoragePlan): string | null {
  const { lora, headDim } = variant.gemma;
  if (lora) return `variant ${variant.name} has adapters`;
  if (headDim % 4 !== 0) {
    return `variant ${variant.name} has heads of ${headDim} numbers, which is no multiple of 4`;
  }
  const { precision, quantized = MATRIX_KINDS } = storage;
  if (precision === "float32") return "its weights are in float32";
  if (quantized.length < MATRIX_KINDS.length) {
    return `variant ${variant.name} keeps some matrices in float32`;
  }
  return null;
}
