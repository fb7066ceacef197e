/**
 * What an engine consists of, and how it is made: room, weights, kernels compiled and bound. All of it is
 * made before the first prefill, or none.
 *
 * @module
 */

import type { GpuDevice } from "../device/gpu_device.ts";
import { GpuMemoryError } from "../device/errors.ts";
import type { StoragePlan } from "../policy/parameter_store.ts";
import type { QuantizedWeights } from "../quant/quantized_tensor.ts";
import { createMatmulChoice, type MatmulChoice, type MatmulFormat } from "./bind_matmul.ts";
import { planDecode } from "./decode_plan.ts";
import { createEngineBuffers, type EngineBuffers } from "./engine_buffers.ts";
import { capacityOf, checkModel, type EngineModel } from "./engine_model.ts";
import { EngineParameters } from "./engine_parameters.ts";
import { GpuBuffers } from "./gpu_buffers.ts";
import { type Dispatch, KernelCache } from "./kernel.ts";
import { type MatrixPlan, planMatrices } from "./matrix_plan.ts";
import { planPrefill, type PrefillPlan } from "./prefill_plan.ts";
import { defaultMatvec, tune, type TuneOptions, type Tuning } from "./tuner.ts";
import type { MatvecShape } from "./wgsl/matvec.ts";

/** How an engine divides its work; defaults serve everywhere. */
export interface EngineOptions {
  /** What was found to be fastest, such as another engine's `tuning`. */
  readonly tuning?: Tuning;
  /** Find out what is fastest, unless `tuning` says it. */
  readonly tune?: TuneOptions;
  /**
   * Shape of the products of a decode step, whatever the tuning says; by default with subgroups where
   * the device has them.
   */
  readonly matvec?: MatvecShape;
  /** What products of a prefill round their inputs to, whatever the tuning says; nothing by default. */
  readonly matmul?: MatmulFormat;
  /** Decode steps of one submission: 8 by default. */
  readonly stepsPerSubmit?: number;
  /** Matrices are split at so many bytes; the device's limit by default. */
  readonly maxBindingBytes?: number;
  /** How matrices that are given in float32 are kept; as they are by default. */
  readonly storage?: StoragePlan;
}

/** Kernels of an engine, bound. */
export interface EnginePlans {
  /** Who compiled them. */
  readonly kernels: KernelCache;
  /** A decode step. */
  readonly decode: readonly Dispatch[];
  /** The critic, behind the last step. */
  readonly critic: readonly Dispatch[];
  /** A prefill. */
  readonly prefill: PrefillPlan;
}

/** An engine's parts. */
export interface EngineParts {
  /** Owner of all buffers. */
  readonly owned: GpuBuffers;
  /** What was learnt. */
  readonly parameters: EngineParameters;
  /** Working memory. */
  readonly buffers: EngineBuffers;
  /** Kernels. */
  readonly plans: EnginePlans;
  /** What was found to be fastest; undefined if nobody looked. */
  readonly tuning: Tuning | undefined;
}

/**
 * Make an engine's parts.
 *
 * @param gpu The device.
 * @param model Sizes and grammar.
 * @param weights All weights of the engine; others are left out.
 * @param options How work is divided.
 * @returns The parts; the caller disposes of `owned`.
 * @throws {RangeError} If the model or a weight does not fit.
 * @throws {GpuMemoryError} If the device has no room.
 * @throws {GpuLostError} If the device has gone.
 */
export async function makeParts(
  gpu: GpuDevice,
  model: EngineModel,
  weights: QuantizedWeights,
  options: EngineOptions,
): Promise<EngineParts> {
  checkModel(model, gpu.device.limits);
  gpu.check();
  using stack = new DisposableStack();
  const owned = stack.use(new GpuBuffers(gpu.device));
  const { parameters, buffers } = await makeRoom(
    gpu,
    model,
    planMatrices(weights, options.storage),
    owned,
    options.maxBindingBytes,
  );
  for (const name of parameters.names) {
    const tensor = weights.matrices.get(name) ?? weights.floats.get(name);
    if (!tensor) throw new RangeError(`Cannot make a decode engine: ${name} is missing`);
    parameters.write(tensor);
  }
  const kernels = new KernelCache(gpu.device);
  const { layers } = parameters.weights;
  const tuning = options.tuning ??
    (options.tune && await tune(gpu, model, layers, options.tune));
  const matvec = options.matvec ?? tuning?.matvec ?? defaultMatvec(gpu);
  const matmul = options.matmul ?? tuning?.matmul ?? "float32";
  const products = await makeProducts(gpu, model, owned, matmul);
  const plans = {
    kernels,
    decode: await planDecode(kernels, model, parameters, buffers, matvec),
    critic: await parameters.critic.plan(kernels, buffers.state, buffers.hidden),
    prefill: await planPrefill(kernels, model, parameters, buffers, products),
  };
  gpu.check();
  stack.move();
  return { owned, parameters, buffers, plans, tuning };
}

/** Make all buffers but those of products, or none if there is no room for one. */
async function makeRoom(
  gpu: GpuDevice,
  model: EngineModel,
  plan: MatrixPlan,
  owned: GpuBuffers,
  maxBindingBytes?: number,
): Promise<{ parameters: EngineParameters; buffers: EngineBuffers }> {
  return await within(gpu, owned, () => {
    const parameters = new EngineParameters(model, plan, owned, maxBindingBytes);
    return { parameters, buffers: createEngineBuffers(model, owned) };
  });
}

/** Make what products of a prefill need. */
async function makeProducts(
  gpu: GpuDevice,
  model: EngineModel,
  owned: GpuBuffers,
  format: MatmulFormat,
): Promise<MatmulChoice> {
  const { width, mlpDim, heads, headDim } = model.gemma;
  const widest = Math.max(width, mlpDim, heads * headDim);
  return await within(
    gpu,
    owned,
    () => createMatmulChoice(owned, format, capacityOf(model), widest),
  );
}

/** Make buffers, and say so if there is no room. */
async function within<T>(gpu: GpuDevice, owned: GpuBuffers, make: () => T): Promise<T> {
  let made: T;
  let scope: Promise<GPUError | null>;
  // The stack of scopes is the device's: nothing may come between push and pop.
  gpu.device.pushErrorScope("out-of-memory");
  try {
    made = make();
  } finally {
    scope = gpu.device.popErrorScope();
  }
  const problem = await scope;
  if (!problem) return made;
  throw new GpuMemoryError(
    `Cannot make a decode engine: ${gpu.info.name} has no room for ${owned.bytes} bytes ` +
      `(${problem.message}); close other programs that use the GPU, or use a smaller policy`,
    { cause: problem },
  );
}
