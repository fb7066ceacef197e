/**
 * What is measured: a policy on the GPU and the sequence that it is shown.
 * @module
 */

import type { DecodeEngine } from "../../../common/engine/decode_engine.ts";
import type { EngineModel } from "../../../common/engine/engine_model.ts";
import type { VisionEncoder } from "../../../common/engine/vision_encoder.ts";
import type { PolicyVariant } from "../../../common/policy/variants.ts";

/** A language model, and how long its sequences are. */
export interface BenchModel {
  /** What an engine must know. */
  readonly model: EngineModel;
  /** Tokens before the actions: pictures, prompt, `Action: `. */
  readonly prefillTokens: number;
  /** Ids of the prompt, text tokens before `Action: `. */
  readonly prompt: Int32Array;
  /** Ids that stand for `Action: `. */
  readonly forced: Int32Array;
  /** Most action tokens of a chunk. */
  readonly maxTokens: number;
}

/** A policy on the device. Owner of it. */
export interface LoadedEngines extends Disposable {
  /** Sizes. */
  readonly variant: PolicyVariant;
  /** The sequence. */
  readonly bench: BenchModel;
  /** Image encoder. */
  readonly vision: VisionEncoder;
  /** Language model. */
  readonly engine: DecodeEngine;
  /** Until the policy could act, ms: what of it, the loader says. */
  readonly loadMs: number;
}
