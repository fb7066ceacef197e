/**
 * Whether the decode engine acts for a policy, or tfjs.
 *
 * @module
 */

import type { DecoderChoice } from "../config/config.ts";
import { currentGpu } from "../device/current_gpu.ts";
import { throwGpuFault } from "../device/tell_gpu_faults.ts";
import type { ChosenDevice } from "../policy/backend.ts";
import type { DecoderSource } from "../policy/chunk_decoder.ts";
import type { Logger } from "../types.ts";
import { checkPolicy, PolicyEngine } from "./policy_engine.ts";
import type { Tuning } from "./tuner.ts";
import { openTuningStore } from "./tuning_store.ts";

/** What {@link chooseDecoder} works with. */
export interface DecoderOptions {
  /** `--decoder`. */
  readonly choice: DecoderChoice;
  /** Where tfjs computes now. */
  readonly device: ChosenDevice;
  /** Folder where it is remembered which kernels are fastest on this GPU; nothing is if absent. */
  readonly cacheFolder?: string;
  /** Hears which kernels were chosen, or why a policy is left to tfjs. */
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
  { choice, device, cacheFolder, logger }: DecoderOptions,
): DecoderSource | undefined {
  if (choice === "tfjs") return undefined;
  if (device.backend !== "webgpu") {
    if (choice === "auto") return undefined;
    throw new Error(
      `Cannot use --decoder engine: it runs on a GPU, and tensors are computed on ` +
        `${device.backend} (${device.reason}); use --device webgpu, or --decoder tfjs`,
    );
  }
  const store = cacheFolder === undefined ? undefined : openTuningStore(cacheFolder, logger);
  /** What was found for the last engine, by the GPU's name: a robot waits while one is rebuilt. */
  const found = new Map<string, Tuning>();
  return {
    plan(policy) {
      const gpu = currentGpu();
      if (gpu === null) return null;
      try {
        checkPolicy(gpu, policy);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        if (choice === "auto") {
          logger.info(`tfjs decodes the chunks, not the engine. ${error.message}`);
          return null;
        }
        throw new Error(`Cannot use --decoder engine, only tfjs. ${error.message}`, {
          cause: error,
        });
      }
      return async (weights) => {
        const { name } = gpu.info;
        // Who asks for float32 gets it in every product.
        const isExact = weights.storage.precision === "float32";
        const engine = await PolicyEngine.create(gpu, policy, weights, {
          tuning: found.get(name),
          tune: { store, logger, activations: isExact ? "float32" : "int8" },
        }).catch((error) => throwGpuFault(error, gpu));
        if (engine.tuning) found.set(name, engine.tuning);
        return engine;
      };
    },
  };
}
