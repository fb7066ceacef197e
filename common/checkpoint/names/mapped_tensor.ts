/**
 * How tensors of a file become tensors of the model: one of the model's may be one of the file's, or
 * be put together from many, each transposed into its place. All is done block by block.
 *
 * @module
 */

import type { HostTensor } from "../../types.ts";
import { elementCount } from "../safetensors_header.ts";
import type { TensorBlock, TensorSource } from "../tensor_source.ts";

/** Where one tensor of the file goes. */
export interface Piece {
  /** Name in the file. */
  readonly source: string;
  /** Shape in the file, as the check wants it. */
  readonly sourceShape: readonly number[];
  /** Index along the leading axes of the model's tensor; none when the piece is all of it. */
  readonly index: readonly number[];
  /** Rows of the first axis that are used; all when absent. The rest is padding. */
  readonly rows?: number;
  /**
   * Each axis of the file as one or more axes, outermost first; the axes themselves when absent.
   * `[[2, 4], [3]]` reads an `[8, 3]` as `[2, 4, 3]`.
   */
  readonly split?: readonly (readonly number[])[];
  /** Order of the split axes in the model's tensor; as they are when absent. */
  readonly permutation?: readonly number[];
}

/** One tensor of the model and what it is made of. */
export interface MappedTensor {
  /** The model's name for it. */
  readonly name: string;
  /** The model's shape. */
  readonly shape: readonly number[];
  /** What covers it, without overlap. */
  readonly pieces: readonly Piece[];
}

/** Distance between neighbours along each axis of a row-major array. */
function stridesOf(shape: readonly number[]): number[] {
  return shape.map((_, axis) => elementCount(shape.slice(axis + 1)));
}

/** For each axis of the file, the place in the piece's part of the model that an index leads to. */
function placeTables({ sourceShape, rows, split, permutation }: Piece): Float64Array[] {
  const used = sourceShape.map((size, axis) => axis === 0 && rows !== undefined ? rows : size);
  const parts = split ?? used.map((size) => [size]);
  const flat = parts.flat();
  const order = permutation ?? flat.map((_, axis) => axis);
  const targetStrides = stridesOf(order.map((axis) => flat[axis]));
  const strideOf = new Array<number>(flat.length);
  order.forEach((axis, place) => strideOf[axis] = targetStrides[place]);
  let first = 0;
  return parts.map((sizes, axis) => {
    const strides = strideOf.slice(first, first + sizes.length);
    const inner = stridesOf(sizes);
    first += sizes.length;
    return Float64Array.from(
      { length: used[axis] },
      (_, i) =>
        sizes.reduce((sum, size, k) => sum + Math.floor(i / inner[k]) % size * strides[k], 0),
    );
  });
}

/** Whether a piece is put down as it is: a copy of whole runs. */
function isVerbatim({ split, permutation, rows }: Piece): boolean {
  return split === undefined && permutation === undefined && rows === undefined;
}

/**
 * Put a block of a piece into its part of the model's tensor.
 *
 * @param target The part, row-major.
 * @param tables Of {@link placeTables}.
 */
function scatter(block: TensorBlock, tables: readonly Float64Array[], target: Float32Array): void {
  const { origin, shape, values } = block;
  if (shape.length === 0) {
    target[0] = values[0];
    return;
  }
  const last = shape.length - 1;
  const inner = tables[last];
  const start = origin[last];
  const end = Math.min(start + shape[last], inner.length);
  const isRun = end > start && inner[end - 1] - inner[start] === end - 1 - start;
  const index = shape.map(() => 0);
  const outerRows = elementCount(shape.slice(0, last));
  for (let row = 0; row < outerRows; row++) {
    let base = 0;
    let isPadding = false;
    for (let axis = 0; axis < last; axis++) {
      const i = origin[axis] + index[axis];
      if (i >= tables[axis].length) isPadding = true;
      else base += tables[axis][i];
    }
    if (!isPadding) {
      const from = row * shape[last];
      if (isRun) target.set(values.subarray(from, from + end - start), base + inner[start]);
      else for (let i = start; i < end; i++) target[base + inner[i]] = values[from + i - start];
    }
    for (let axis = last - 1; axis >= 0; axis--) {
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
}

/**
 * Read one tensor of the model block by block. A piece that the file has in the model's own layout
 * comes in the file's blocks; any other is put together first, so that a whole piece (one layer of
 * one matrix) is in memory.
 *
 * @param source The open file.
 * @param mapped Which tensor, and what it is made of.
 * @param maxBlockBytes Wished bound of one block of the file in bytes of float32.
 * @returns Blocks in the model's own axes. They do not overlap and cover all of the tensor; each is
 *   valid until the next is asked for.
 * @throws {CheckpointError} As {@link TensorSource.blocks} does.
 */
export async function* mappedBlocks(
  source: TensorSource,
  mapped: MappedTensor,
  maxBlockBytes?: number,
): AsyncGenerator<TensorBlock> {
  let buffer = new Float32Array(0);
  for (const piece of mapped.pieces) {
    const { index } = piece;
    const inner = mapped.shape.slice(index.length);
    if (isVerbatim(piece)) {
      for await (const block of source.blocks(piece.source, maxBlockBytes)) {
        yield index.length === 0 ? block : {
          origin: [...index, ...block.origin],
          shape: [...index.map(() => 1), ...block.shape],
          values: block.values,
        };
      }
      continue;
    }
    const size = elementCount(inner);
    if (buffer.length < size) buffer = new Float32Array(size);
    const values = buffer.subarray(0, size);
    const tables = placeTables(piece);
    for await (const block of source.blocks(piece.source, maxBlockBytes)) {
      scatter(block, tables, values);
    }
    yield {
      origin: mapped.shape.map((_, axis) => index[axis] ?? 0),
      shape: [...index.map(() => 1), ...inner],
      values,
    };
  }
}

/**
 * Put a block into a whole tensor.
 *
 * @param block A block in the tensor's own axes.
 * @param shape The tensor's shape.
 * @param target The tensor's values, row-major.
 */
export function placeBlock(
  block: TensorBlock,
  shape: readonly number[],
  target: Float32Array,
): void {
  scatter(block, placeTables({ source: "", sourceShape: shape, index: [] }), target);
}

/**
 * Read one tensor of the model whole.
 *
 * @param source The open file.
 * @param mapped Which tensor, and what it is made of.
 * @returns The tensor under the model's name.
 * @throws {CheckpointError} As {@link TensorSource.blocks} does.
 */
export async function readMapped(
  source: TensorSource,
  mapped: MappedTensor,
): Promise<HostTensor> {
  const { name, shape } = mapped;
  const data = new Float32Array(elementCount(shape));
  for await (const block of mappedBlocks(source, mapped)) placeBlock(block, shape, data);
  return { name, shape, data };
}
