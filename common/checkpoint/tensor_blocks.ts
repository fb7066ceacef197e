/**
 * Cutting tensors into blocks and putting blocks together again. Everything here is row-major.
 *
 * @module
 */

import type { HostTensor } from "../types.ts";
import { BYTES_PER_NUMBER, widen } from "./dtype.ts";
import { CheckpointError } from "./errors.ts";
import { elementCount } from "./safetensors_header.ts";
import type { StoredDtype, StoredTensor, TensorBlock } from "./tensor_source.ts";

/** Bound of a block in bytes of float32 when the caller names none. */
export const DEFAULT_BLOCK_BYTES = 1 << 22;

/** Where a block lies. */
export type Box = Pick<TensorBlock, "origin" | "shape">;

/**
 * How many float32 values a block may have.
 *
 * @param maxBlockBytes Bound in bytes.
 * @returns At least 1.
 */
export function blockElements(maxBlockBytes: number): number {
  return Math.max(1, Math.floor(maxBlockBytes / Float32Array.BYTES_PER_ELEMENT));
}

/**
 * Cut a tensor into boxes that follow one another in memory.
 *
 * @param shape Its shape.
 * @param maxElements Most values of a box, at least 1.
 * @returns Boxes in the order of their values; none for an empty tensor.
 */
export function* rowMajorBoxes(shape: readonly number[], maxElements: number): Generator<Box> {
  if (shape.includes(0)) return;
  // Boxes are whole in the axes behind `axis`, cut in `axis` and one thick in those before it.
  let axis = shape.length;
  let trailing = 1;
  while (axis > 0 && trailing * shape[axis - 1] <= maxElements) trailing *= shape[--axis];
  if (axis === 0) {
    yield { origin: shape.map(() => 0), shape };
    return;
  }
  axis--;
  const rows = Math.floor(maxElements / trailing);
  const origin = shape.map(() => 0);
  while (true) {
    for (let first = 0; first < shape[axis]; first += rows) {
      origin[axis] = first;
      const box = shape.map((extent, i) => i < axis ? 1 : extent);
      box[axis] = Math.min(rows, shape[axis] - first);
      yield { origin: [...origin], shape: box };
    }
    let carry = axis - 1;
    while (carry >= 0 && ++origin[carry] === shape[carry]) origin[carry--] = 0;
    if (carry < 0) return;
  }
}

/**
 * Strides of a row-major tensor.
 *
 * @param shape Its shape.
 * @returns Values from one index to the next, for each axis.
 */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

/** Values with a first index and strides: one side of {@link copyBox}. */
export interface StridedValues {
  /** The values. */
  readonly values: Float32Array;
  /** Index of the box's first value. */
  readonly first: number;
  /** Values from one index to the next, for each axis. */
  readonly strides: readonly number[];
}

/**
 * Copy a box from one tensor to another.
 *
 * @param source Where from.
 * @param target Where to.
 * @param shape Extent of the box.
 */
export function copyBox(
  source: StridedValues,
  target: StridedValues,
  shape: readonly number[],
): void {
  if (shape.includes(0)) return;
  const last = shape.length - 1;
  const copy = (axis: number, from: number, to: number) => {
    const [fromStride, toStride] = [source.strides[axis] ?? 1, target.strides[axis] ?? 1];
    const extent = shape[axis] ?? 1;
    if (axis < last) {
      for (let i = 0; i < extent; i++) copy(axis + 1, from + i * fromStride, to + i * toStride);
    } else if (fromStride === 1 && toStride === 1) {
      target.values.set(source.values.subarray(from, from + extent), to);
    } else {
      for (let i = 0; i < extent; i++) {
        target.values[to + i * toStride] = source.values[from + i * fromStride];
      }
    }
  };
  copy(0, source.first, target.first);
}

/**
 * Turn the bytes of a row-major tensor into blocks.
 *
 * @param pieces Its bytes in order, in pieces of any size.
 * @param tensor Its shape and number format.
 * @param maxBlockBytes Bound of a block in bytes of float32.
 * @param truncated What to throw when the pieces end early.
 * @throws What `truncated` returns, and whatever `pieces` throws.
 */
export async function* blocksOfBytes(
  pieces: AsyncIterable<Uint8Array>,
  { shape, dtype }: { readonly shape: readonly number[]; readonly dtype: StoredDtype },
  maxBlockBytes: number,
  truncated: (bytesFound: number) => CheckpointError,
): AsyncGenerator<TensorBlock> {
  let values = new Float32Array(0);
  let raw = new Uint8Array(0);
  let found = 0;
  let rest: Uint8Array = new Uint8Array(0);
  const iterator = pieces[Symbol.asyncIterator]();
  try {
    for (const box of rowMajorBoxes(shape, blockElements(maxBlockBytes))) {
      const count = elementCount(box.shape);
      if (values.length < count) {
        values = new Float32Array(count);
        raw = dtype === "F32"
          ? new Uint8Array(values.buffer) // float32 needs no widening: read it in place
          : new Uint8Array(count * BYTES_PER_NUMBER[dtype]);
      }
      const target = raw.subarray(0, count * BYTES_PER_NUMBER[dtype]);
      for (let filled = 0; filled < target.length;) {
        if (rest.length === 0) {
          const next = await iterator.next();
          if (next.done) throw truncated(found);
          rest = next.value;
          continue;
        }
        const part = rest.subarray(0, target.length - filled);
        target.set(part, filled);
        filled += part.length;
        found += part.length;
        rest = rest.subarray(part.length);
      }
      const widened = values.subarray(0, count);
      if (dtype !== "F32") widen(target, dtype, widened);
      yield { ...box, values: widened };
    }
    // Checksums that stand at the end of the bytes are compared when the end is reached.
    for (let next = await iterator.next(); !next.done; next = await iterator.next());
  } finally {
    await iterator.return?.();
  }
}

/**
 * Put the blocks of a tensor together.
 *
 * @param tensor The tensor.
 * @param blocks Its blocks.
 * @returns All of it.
 * @throws {CheckpointError} When it does not fit in memory.
 */
export async function assembleTensor(
  { name, shape, file }: StoredTensor,
  blocks: AsyncIterable<TensorBlock>,
): Promise<HostTensor> {
  let data: Float32Array;
  try {
    data = new Float32Array(elementCount(shape));
  } catch (cause) {
    throw new CheckpointError(
      `Cannot read ${file}: tensor ${name} of shape [${
        shape.join(", ")
      }] does not fit in memory; ` +
        `read it block by block.`,
      { cause },
    );
  }
  const strides = rowMajorStrides(shape);
  for await (const block of blocks) {
    const first = block.origin.reduce((sum, index, i) => sum + index * strides[i], 0);
    copyBox(
      { values: block.values, first: 0, strides: rowMajorStrides(block.shape) },
      { values: data, first, strides },
      block.shape,
    );
  }
  return { name, shape, data };
}
