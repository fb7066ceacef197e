/**
 * A synthetic checkpoint of any size: the full model's arrays, sharded safetensors in float32.
 * @module
 */

import { join } from "node:path";
import { buildHeader, elementCount } from "../../common/checkpoint/safetensors_header.ts";
import type { TensorShape } from "../../common/checkpoint/check_tensors.ts";
import { backboneSpecs } from "../../common/policy/parameters.ts";
import { type PolicyVariant, VARIANTS } from "../../common/policy/variants.ts";
import { normal, seededRandom } from "../../common/random.ts";

/** Shards end once they hold this much, as large checkpoints are usually cut. */
const SHARD_BYTES = 4e9;
/** The pattern that fills every tensor: 4 M numbers like weights, over and over. */
const PATTERN_NUMBERS = 1 << 22;
const PATTERN_DEVIATION = 0.02;

/**
 * A variant like gemma_2b with fewer layers and words.
 *
 * @param scale Share of layers and vocabulary, above 0 and at most 1.
 */
export function scaledVariant(scale: number): PolicyVariant {
  const { siglip, gemma, ...rest } = VARIANTS.gemma_2b;
  const share = (count: number) => Math.max(1, Math.round(count * scale));
  return {
    ...rest,
    siglip: { ...siglip, depth: share(siglip.depth) },
    gemma: { ...gemma, depth: share(gemma.depth), vocab: share(gemma.vocab) },
  };
}

/** The arrays of a variant. */
export function tensorShapes(variant: PolicyVariant): TensorShape[] {
  return backboneSpecs(variant).map(({ path, shape }) => ({ name: path, shape }));
}

function pattern(): Uint8Array {
  const random = seededRandom(1);
  const numbers = Float32Array.from(
    { length: PATTERN_NUMBERS },
    () => PATTERN_DEVIATION * normal(random),
  );
  return new Uint8Array(numbers.buffer);
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) written += await file.write(bytes.subarray(written));
}

/** Write so many bytes of the pattern, each time from another place of it. */
async function writePattern(file: Deno.FsFile, bytes: number, fill: Uint8Array): Promise<void> {
  for (let left = bytes; left > 0;) {
    const part = fill.subarray(0, Math.min(left, fill.length));
    await writeAll(file, part);
    left -= part.length;
  }
}

/**
 * Write a checkpoint.
 *
 * @param dir A folder that exists.
 * @param tensors Its arrays.
 * @param signal Ends the writing by throwing its reason.
 * @returns Bytes of float32 and the files.
 */
export async function writeSyntheticCheckpoint(
  dir: string,
  tensors: readonly TensorShape[],
  signal: AbortSignal,
): Promise<{ bytes: number; files: readonly string[] }> {
  const bytesOf = ({ shape }: TensorShape) => 4 * elementCount(shape);
  const shards: TensorShape[][] = [[]];
  for (const tensor of tensors) {
    const last = shards[shards.length - 1];
    const filled = last.reduce((sum, one) => sum + bytesOf(one), 0);
    if (last.length > 0 && filled + bytesOf(tensor) > SHARD_BYTES) shards.push([tensor]);
    else last.push(tensor);
  }
  const fill = pattern();
  const weightMap: Record<string, string> = {};
  const files: string[] = [];
  for (const [i, shard] of shards.entries()) {
    const number = (n: number) => `${n}`.padStart(5, "0");
    const name = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    files.push(join(dir, name));
    using file = await Deno.open(join(dir, name), { write: true, createNew: true });
    await writeAll(file, buildHeader(shard.map((t) => ({ ...t, dtype: "F32" })), {}));
    for (const tensor of shard) {
      signal.throwIfAborted();
      weightMap[tensor.name] = name;
      await writePattern(file, bytesOf(tensor), fill);
    }
    await file.sync();
  }
  await Deno.writeTextFile(
    join(dir, "model.safetensors.index.json"),
    JSON.stringify({ metadata: {}, weight_map: weightMap }),
  );
  return { bytes: tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0), files };
}

/**
 * Read files from beginning to end and do nothing with them.
 *
 * @param files The files.
 * @returns MB a second.
 */
export async function readSpeed(files: readonly string[], signal: AbortSignal): Promise<number> {
  const buffer = new Uint8Array(1 << 23);
  const start = performance.now();
  let bytes = 0;
  for (const path of files) {
    using file = await Deno.open(path, { read: true });
    for (;;) {
      signal.throwIfAborted();
      const count = await file.read(buffer);
      if (count === null) break;
      bytes += count;
    }
  }
  return bytes / 1e3 / (performance.now() - start);
}
