/**
 * Everything that an engine has learnt, by the names of a checkpoint: weights of the language model,
 * adapters and critic.
 *
 * @module
 */

import type { QuantizedTensor } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import { EngineAdapters } from "./engine_adapters.ts";
import { EngineCritic } from "./engine_critic.ts";
import type { EngineModel } from "./engine_model.ts";
import { EngineWeights } from "./engine_weights.ts";
import type { GpuBuffers } from "./gpu_buffers.ts";
import type { MatrixPlan } from "./matrix_plan.ts";

/** An engine's parameters. Their buffers belong to the {@link GpuBuffers} they came from. */
export class EngineParameters {
  /** Weights of the language model. */
  readonly weights: EngineWeights;
  /** Its adapters. */
  readonly adapters: EngineAdapters;
  /** The critic. */
  readonly critic: EngineCritic;

  /**
   * Make room; nothing is written.
   *
   * @param model Sizes.
   * @param plan Bits of each matrix.
   * @param buffers Owner of the buffers.
   * @param maxBindingBytes Largest matrix in one piece; the device's limit by default.
   */
  constructor(model: EngineModel, plan: MatrixPlan, buffers: GpuBuffers, maxBindingBytes?: number) {
    this.weights = new EngineWeights(model, plan, buffers, maxBindingBytes);
    this.adapters = new EngineAdapters(model.gemma, buffers);
    this.critic = new EngineCritic(model, buffers);
  }

  /** Paths of all arrays: openpi's names, the critic's below `value_head/`. */
  get names(): string[] {
    const { weights, adapters, critic } = this;
    return [...weights.names, ...adapters.shapes.keys(), ...critic.shapes.keys()];
  }

  /** Bytes that a decode step reads of them: layers with their adapters, and the head. */
  get bytesPerToken(): number {
    return this.weights.bytesPerToken + this.adapters.bytesPerToken;
  }

  /**
   * Check that an array can be written.
   * @throws {RangeError} If it is none of {@link names}, or has another shape or number of values.
   */
  check(tensor: HostTensor | QuantizedTensor): void {
    const { name, shape } = tensor;
    const wanted = this.adapters.shapes.get(name) ?? this.critic.shapes.get(name);
    if (!wanted) {
      this.weights.check(tensor);
      return;
    }
    const count = wanted.reduce((a, b) => a * b, 1);
    if (!("data" in tensor)) {
      throw new RangeError(
        `Cannot write ${name} in ${tensor.bits} bits into the decode engine: it wants float32`,
      );
    }
    if (shape.join() !== wanted.join() || tensor.data.length !== count) {
      throw new RangeError(
        `Cannot write ${name} of shape [${shape}] with ${tensor.data.length} numbers into the ` +
          `decode engine: it wants [${wanted}]`,
      );
    }
  }

  /**
   * Write an array, whole.
   *
   * @param tensor One of {@link names}.
   * @throws {RangeError} As {@link check} does; nothing has been written then.
   */
  write(tensor: HostTensor | QuantizedTensor): void {
    this.check(tensor);
    if (!("data" in tensor)) this.weights.write(tensor);
    else if (this.adapters.shapes.has(tensor.name)) this.adapters.write(tensor);
    else if (this.critic.shapes.has(tensor.name)) this.critic.write(tensor);
    else this.weights.write(tensor);
  }
}
