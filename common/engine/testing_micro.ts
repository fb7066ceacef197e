/**
 * An engine for the tests' smallest policy, and what makes its chunks right.
 * @module
 */

import assert from "node:assert/strict";
import type { GpuDevice } from "../device/gpu_device.ts";
import { openAny } from "../device/testing.ts";
import type { ActorCritic } from "../policy/actor_critic.ts";
import { useDevice } from "../policy/backend.ts";
import { makePolicy, maxDifference, normalSource } from "../policy/testing.ts";
import type { Bits, QuantizedWeights } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import { DecodeEngine, type EngineOptions } from "./decode_engine.ts";
import { engineModelOf } from "./engine_model.ts";
import type { EngineSample } from "./engine_sample.ts";
import { quantizePolicy, type ReferenceChunk } from "./testing.ts";

/** Nats a token; values are of about 1. */
const TOLERANCE = 1e-3;

/** Draws the best. */
export const GREEDY = { temperature: 0, random: (): number => 0 } as const;

/** A policy and its engine. Owner of both and of the device. */
export interface Micro extends Disposable {
  /** The device. */
  readonly gpu: GpuDevice;
  /** The policy, with the weights as the engine has rounded them. */
  readonly policy: ActorCritic;
  /** Its engine. */
  readonly engine: DecodeEngine;
  /** What the engine was given. */
  readonly weights: QuantizedWeights;
}

/**
 * Make a policy and an engine for it.
 *
 * @param changes Parts of the policy's shape to replace.
 * @param options How the engine divides its work.
 * @param more Text tokens that the engine has room for besides, and bits of a weight.
 */
export async function openMicro(
  changes: Parameters<typeof makePolicy>[0] = {},
  options: EngineOptions = {},
  { spareTokens = 0, bits = 8 as Bits } = {},
): Promise<Micro> {
  await useDevice("cpu");
  using stack = new DisposableStack();
  const policy = stack.use(makePolicy(changes));
  if (policy.shape.variant.gemma.lora) {
    policy.network.backbone.assign(await strongAdapters(policy, 21));
  }
  const weights = await quantizePolicy(policy, bits);
  const gpu = stack.use(await openAny());
  const model = engineModelOf(policy);
  const roomy = { ...model, maxTextTokens: model.maxTextTokens + spareTokens };
  const engine = stack.use(await DecodeEngine.create(gpu, roomy, weights, options));
  const owned = stack.move();
  return { gpu, policy, engine, weights, [Symbol.dispose]: () => owned.dispose() };
}

/**
 * Adapters of a policy that matter: fresh ones hardly change a number.
 *
 * @param policy The policy; it keeps its own.
 * @param seed Of the numbers.
 * @returns All arrays of its adapters, with standard deviation 0.15.
 */
export async function strongAdapters(policy: ActorCritic, seed: number): Promise<HostTensor[]> {
  const normal = normalSource(seed);
  const tensors = await policy.network.backbone.toHost();
  return tensors.filter(({ name }) => name.includes("lora")).map((tensor) => ({
    ...tensor,
    data: tensor.data.map(() => 0.15 * normal()),
  }));
}

/**
 * Assert that an engine has drawn what tfjs draws.
 *
 * @param sample The engine's chunk.
 * @param expected What tfjs draws.
 * @throws {assert.AssertionError} If a token differs, or a number by more than 1e-3.
 */
export function assertSame(sample: EngineSample, expected: ReferenceChunk): void {
  assert.deepEqual([...sample.tokens], expected.tokens);
  assert.ok(maxDifference(sample.logProbs, expected.logProbs) < TOLERANCE, "log-probabilities");
  assert.ok(maxDifference(sample.entropies, expected.entropies) < TOLERANCE, "entropies");
  const { value } = sample;
  assert.ok(Math.abs(value - expected.value) < TOLERANCE, `value ${value}, not ${expected.value}`);
}
