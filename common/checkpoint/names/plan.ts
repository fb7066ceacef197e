/**
 * A plan of how a file becomes a model: what each of the model's tensors is made of, what the file
 * must hold for it, and what the model has that such files lack.
 *
 * @module
 */

import type { FoundTensor, WantedTensor } from "../check_tensors.ts";
import type { MappedTensor } from "./mapped_tensor.ts";

/** Whose names a file has. */
export type NameSet =
  /** Layers stacked on axis 0, big_vision's names: openpi, Tendon and PaliGemma's npz. */
  | "stacked"
  /** One tensor a layer, transposed matrices: Hugging Face's PaliGemma, and so LeRobot. */
  | "hugging_face";

/** How a file becomes a model. */
export interface LoadPlan {
  /** The model's tensors that the file gives, without those that must be drawn. */
  readonly mapped: readonly MappedTensor[];
  /** What the file must hold, under the file's names. */
  readonly wanted: readonly WantedTensor[];
  /** What the file holds, without the tensors that are known and not needed. */
  readonly found: readonly FoundTensor[];
  /** Names of adapters that the model has and the file lacks; they are drawn. */
  readonly missingAdapters: readonly string[];
  /** Two tensors of the file that the model takes for one: they must be equal. */
  readonly tied?: readonly [string, string];
  /** Sentences for people. */
  readonly notes: readonly string[];
}

/**
 * Whether a parameter belongs to a low-rank adapter. openpi fills these in, and only these, when a
 * checkpoint lacks them (`weight_loaders.py`).
 *
 * @param name A parameter's path.
 */
export function isAdapter(name: string): boolean {
  return name.includes("lora");
}

/** A note about adapters that are drawn; none when there are none. */
export function adapterNotes(missing: readonly string[]): string[] {
  return missing.length === 0 ? [] : [
    `the checkpoint has no weights for ${missing.length} LoRA arrays: they are drawn, both factors ` +
    "from normal(0.01) as openpi draws them",
  ];
}
