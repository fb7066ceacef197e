/**
 * A small checkpoint and a temporary folder for tests.
 *
 * @module
 */

import type { HostTensor } from "../types.ts";
import type { CheckpointContent } from "./checkpoint.ts";
import type { CheckpointInfo } from "./metadata.ts";

/** A temporary directory that goes when its scope ends. */
export class TempDir implements Disposable {
  /** Its absolute path. */
  readonly path: string = Deno.makeTempDirSync({ prefix: "tendon_test_" });

  /** Remove it with everything in it. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/**
 * A tensor that counts upwards in steps of 1/8, which half precision holds exactly.
 *
 * @param name Its name.
 * @param shape Its dimensions.
 * @param first Its first value.
 */
export function countingTensor(name: string, shape: readonly number[], first = 0): HostTensor {
  const length = shape.reduce((product, dimension) => product * dimension, 1);
  return { name, shape, data: Float32Array.from({ length }, (_, i) => first + i / 8) };
}

/**
 * Metadata of an actor-critic checkpoint.
 *
 * @param changes Fields to replace.
 */
export function sampleInfo(changes: Partial<CheckpointInfo> = {}): CheckpointInfo {
  return {
    kind: "actor_critic",
    step: 5,
    policyVersion: 5,
    model: {
      variant: "tiny",
      actionDim: 14,
      horizon: 16,
      maxTokenLen: 80,
      valueHeadHiddenDim: 128,
      maxValueSteps: 32,
      valueInput: "observation",
    },
    training: {
      task: "reach",
      updates: 5,
      controlSteps: 20_480,
      chunks: 1280,
      episodes: 400,
      optimizerSteps: 60,
      seed: 0,
      metrics: { successRate: 0.75 },
      config: { learningRate: 3e-4 },
    },
    tendonVersion: "0.1.0",
    createdAt: "2026-01-31T12:00:00.000Z",
    command: "deno task demo",
    notes: [],
    ...changes,
  };
}

/**
 * A whole actor-critic checkpoint of a few numbers.
 *
 * @param changes Parts to replace.
 */
export function sampleContent(changes: Partial<CheckpointContent> = {}): CheckpointContent {
  return {
    info: sampleInfo(),
    actorBackbone: [
      countingTensor("PaliGemma/llm/layers/attn/q_einsum/w", [2, 2, 4, 2]),
      countingTensor("PaliGemma/img/head/bias", [4], -1),
    ],
    valueHead: [countingTensor("hidden/kernel", [4, 3], 2)],
    optimizer: [countingTensor("m/value_head/hidden/kernel", [4, 3]), countingTensor("step", [])],
    assets: new Map([
      ["tokenizer.json", new TextEncoder().encode("{}")],
      ["demo/norm_stats.json", new TextEncoder().encode('{"q01":[]}')],
    ]),
    ...changes,
  };
}
