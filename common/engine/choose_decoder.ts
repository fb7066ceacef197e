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
    plan(shape) {
      const gpu = currentGpu();
      if (gpu === null) return null;
      const refusal = whyNotServed(shape);
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
export function whyNotServed({ variant }: PolicyShape): string | null {
  const { lora, headDim } = variant.gemma;
  if (lora) return `variant ${variant.name} has adapters`;
  if (headDim % 4 !== 0) {
    return `variant ${variant.name} has heads of ${headDim} numbers, which is no multiple of 4`;
  }
  return null;
}
