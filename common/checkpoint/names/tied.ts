/**
 * Checks that two tensors which the model takes for one are one.
 *
 * @module
 */

import { CheckpointError } from "../errors.ts";
import type { TensorSource } from "../tensor_source.ts";
import type { LoadPlan } from "./plan.ts";

/** Enough to tell two embeddings apart: 256 K numbers. */
const BYTES_COMPARED = 1 << 20;

async function firstBlock(source: TensorSource, name: string): Promise<Float32Array | undefined> {
  for await (const { values } of source.blocks(name, BYTES_COMPARED)) {
    return values.slice(0, BYTES_COMPARED / Float32Array.BYTES_PER_ELEMENT);
  }
  return undefined;
}

/**
 * Make sure that an output head which is stored beside the embedding equals it, as far as their first
 * blocks tell: the model has only one of the two.
 *
 * @param source The open checkpoint, checked.
 * @param plan What will be read.
 * @throws {CheckpointError} When they differ.
 */
export async function checkTied(source: TensorSource, { tied }: LoadPlan): Promise<void> {
  if (tied === undefined) return;
  const [embedding, head] = tied;
  const a = await firstBlock(source, embedding);
  const b = await firstBlock(source, head);
  const length = Math.min(a?.length ?? 0, b?.length ?? 0);
  for (let i = 0; i < length; i++) {
    if (a![i] === b![i]) continue;
    throw new CheckpointError(
      `Cannot use ${source.path}: ${head} differs from ${embedding} (number ${i} is ${
        b![i]
      }, not ` +
        `${a![i]}), but the model uses one matrix for both.`,
    );
  }
}
