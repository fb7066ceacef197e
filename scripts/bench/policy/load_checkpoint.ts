/**
 * Puts a checkpoint's policy on the GPU, as a controller does.
 * @module
 */

import type { Config, ConfigField } from "../../../common/config/config.ts";
import type { GpuDevice } from "../../../common/device/gpu_device.ts";
import { PolicyEngine } from "../../../common/engine/policy_engine.ts";
import type { TuneOptions } from "../../../common/engine/tuner.ts";
import { TASK_PROMPTS } from "../../../controller/sim/task_names.ts";
import { loadPolicy } from "../../../common/policy/load.ts";
import { closingTokens } from "../../../common/tokenizer/dialect.ts";
import { normal, seededRandom } from "../../../common/random.ts";
import { CAMERA_NAMES, type Observation } from "../../../common/types.ts";
import { openCheckpoint } from "../../open_checkpoint.ts";
import type { LoadedEngines } from "./bench_model.ts";

/**
 * Load it.
 *
 * @param gpu The device.
 * @param options.dir Folder of the checkpoint.
 * @param options.config What the checkpoint does not say, and how matrices are kept.
 * @param options.given Names of the flags that were given.
 * @param options.tune How kernels are chosen.
 * @returns The policy; its load is that from files until a chunk could be decoded.
 * @throws {CheckpointError} If there is none, or it does not fit.
 * @throws {GpuMemoryError} If the device has no room.
 */
export async function loadCheckpoint(gpu: GpuDevice, options: {
  readonly dir: string;
  readonly config: Config;
  readonly given: ReadonlySet<ConfigField | string>;
  readonly tune: TuneOptions;
}): Promise<LoadedEngines> {
  const { dir, given, tune } = options;
  const { path, config } = await openCheckpoint({ ...options.config, checkpoint: dir }, given);
  const random = seededRandom(config.seed);
  const start = performance.now();
  let engine: PolicyEngine | undefined;
  const decoders = {
    plan:
      (policy: Parameters<typeof PolicyEngine.create>[1]) =>
      async (weights: Parameters<typeof PolicyEngine.create>[2]) => {
        const activations = weights.storage.precision === "float32" ? "float32" : "int8";
        return engine = await PolicyEngine.create(gpu, policy, weights, {
          tune: { ...tune, activations },
        });
      },
  };
  const { policy } = await loadPolicy(path, {
    ...config,
    decoders,
    normal: () => normal(random),
  });
  await gpu.device.queue.onSubmittedWorkDone();
  const loadMs = performance.now() - start;
  const { variant, maxTokenLen } = policy.shape;
  const seen = atRest(TASK_PROMPTS[config.task], policy.assets.stats.state.mean);
  const { prompts: [prompt], forced } = policy.prepareInput([seen]).ids;
  const { parts } = engine!;
  return {
    ...parts,
    variant,
    bench: {
      model: parts.engine.model,
      prefillTokens: parts.engine.model.imageTokens + prompt.length + forced.length,
      prompt,
      forced,
      maxTokens: maxTokenLen - prompt.length - forced.length - closingTokens(policy.dialect),
    },
    loadMs,
    [Symbol.dispose]: () => policy[Symbol.dispose](),
  };
}

/** The mean state, and no pictures: only the words of the prompt are wanted. */
function atRest(prompt: string, mean: ArrayLike<number>): Observation {
  const none = { width: 0, height: 0, data: new Uint8Array(0) };
  const images = Object.fromEntries(CAMERA_NAMES.map((camera) => [camera, none]));
  return { images: images as Observation["images"], state: Float32Array.from(mean), prompt };
}
