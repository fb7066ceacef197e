/**
 * What tests of acting share: a small policy with or without the engine, on the GPU that tfjs has.
 *
 * @module
 */

import { closeGpu, currentGpu, useGpu } from "../device/current_gpu.ts";
import { ActorCritic, type PolicyShape } from "../policy/actor_critic.ts";
import { useDevice } from "../policy/backend.ts";
import {
  backboneSpecs,
  ParameterStore,
  type StoragePlan,
  valueHeadSpecs,
} from "../policy/parameters.ts";
import { ACTION_DIM, drawEverything, HORIZON, makeAssets, MICRO } from "../policy/testing.ts";
import { PolicyEngine } from "./policy_engine.ts";

/** What {@link makeActingPolicy} makes. */
export interface ActingPolicyOptions extends Partial<PolicyShape> {
  /** Whether the engine acts, which takes a GPU, or tfjs. */
  readonly hasEngine: boolean;
  /** Of the weights; 1 unless told. */
  readonly seed?: number;
  /** How its matrices are kept; in 8 bits unless told. */
  readonly storage?: StoragePlan;
}

/** A policy of the size of {@link MICRO} with random weights; its numbers are the same either way. */
export async function makeActingPolicy(options: ActingPolicyOptions): Promise<ActorCritic> {
  const { hasEngine, seed = 1, storage = { precision: "int8" }, ...changes } = options;
  const shape: PolicyShape = {
    variant: MICRO,
    horizon: HORIZON,
    actionDim: ACTION_DIM,
    maxTokenLen: 64,
    valueHeadHiddenDim: 16,
    valueInput: "observation",
    maxValueSteps: 8,
    isCriticDetached: false,
    ...changes,
  };
  const specs = backboneSpecs(shape.variant);
  const headSpecs = valueHeadSpecs(shape.variant.gemma.width, shape.valueHeadHiddenDim);
  const backbone = drawEverything(specs, seed);
  const valueHead = drawEverything(headSpecs, seed + 1);
  const policy = new ActorCritic(
    shape,
    makeAssets(),
    new ParameterStore(specs, backbone, { ...storage, isElsewhere: hasEngine }),
    new ParameterStore(headSpecs, valueHead, { precision: "float32", isElsewhere: hasEngine }),
  );
  const gpu = currentGpu();
  if (hasEngine && gpu === null) throw new Error("There is no GPU in use: call useGpu() first");
  if (hasEngine) {
    policy.useDecoder(await PolicyEngine.create(gpu!, policy, { backbone, valueHead, storage }));
  }
  return policy;
}

/**
 * Run a test with any GPU in use, and leave tfjs without.
 *
 * @param backend Where tfjs computes in the test; on that GPU unless told. Elsewhere it need not compile
 *   its kernels, which takes seconds.
 */
export async function withGpu(
  test: () => Promise<void>,
  backend: "webgpu" | "wasm" = "webgpu",
): Promise<void> {
  await useDevice("cpu");
  await useGpu({ allowSoftware: true });
  try {
    if (backend === "wasm") await useDevice("wasm");
    await test();
  } finally {
    await closeGpu();
    await useDevice("cpu");
  }
}
