/**
 * Writes tensors that come in blocks: each block goes to its place in a file as it comes, so that no
 * tensor has to be in memory whole.
 *
 * @module
 */

import type { HostTensor } from "../types.ts";
import { BYTES_PER_NUMBER, narrow, type WritableDtype } from "./dtype.ts";
import { mappedBlocks, type MappedTensor } from "./names/mapped_tensor.ts";
import { buildHeader, elementCount } from "./safetensors_header.ts";
import type { Box } from "./tensor_blocks.ts";
import type { TensorBlock, TensorSource } from "./tensor_source.ts";

/** A tensor that is read block by block. */
export interface BlockTensor {
  /** Its name. */
  readonly name: string;
  /** Its shape. */
  readonly shape: readonly number[];
  /** Its blocks: they do not overlap and cover all of it; each is valid until the next is taken. */
  blocks(): AsyncIterable<TensorBlock>;
}

/** Numbers that are converted and written at a time. */
const NUMBERS_AT_A_TIME = 1 << 20;

/**
 * A tensor of an open checkpoint.
 *
 * @param source The open checkpoint.
 * @param mapped Which tensor, and what it is made of.
 * @param name Its name from now on; the model's by default.
 */
export function blockTensor(
  source: TensorSource,
  mapped: MappedTensor,
  name: string = mapped.name,
): BlockTensor {
  return { name, shape: mapped.shape, blocks: () => mappedBlocks(source, mapped) };
}

/**
 * A tensor in memory as one block.
 *
 * @param tensor The tensor.
 */
export function inOneBlock({ name, shape, data }: HostTensor): BlockTensor {
  return {
    name,
    shape,
    async *blocks() {
      if (data.length > 0) {
        yield await Promise.resolve({ origin: shape.map(() => 0), shape, values: data });
      }
    },
  };
}

async function writeFully(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) written += await file.write(bytes.subarray(written));
}

/**
 * Write what a block shares with a row-major box of numbers in a file.
 *
 * @param file An open file.
 * @param start Where the box begins in it, in bytes.
 * @param box Which part of the tensor the file has there.
 * @param block Part of the tensor; it need not lie within the box.
 * @param dtype Format of the file's numbers.
 * @returns How many numbers were written.
 * @throws {RangeError} When a number does not fit the format.
 */
export async function writeShared(
  file: Deno.FsFile,
  start: number,
  box: Box,
  block: TensorBlock,
  dtype: WritableDtype,
): Promise<number> {
  const rank = box.shape.length;
  const from = box.origin.map((o, axis) => Math.max(o, block.origin[axis]));
  const extent = from.map((o, axis) =>
    Math.min(box.origin[axis] + box.shape[axis], block.origin[axis] + block.shape[axis]) - o
  );
  if (extent.some((size) => size <= 0)) return 0;
  // Axes behind `axis` are whole in the box and in the block: they are one run in both.
  let axis = rank - 1;
  while (axis > 0 && extent[axis] === box.shape[axis] && extent[axis] === block.shape[axis]) axis--;
  const run = elementCount(extent.slice(Math.max(axis, 0)));
  const runs = elementCount(extent.slice(0, Math.max(axis, 0)));
  const place = (outer: Pick<TensorBlock, "origin" | "shape">, index: readonly number[]) =>
    index.reduce((sum, at, i) => sum * outer.shape[i] + from[i] + at - outer.origin[i], 0);
  const index = new Array<number>(rank).fill(0);
  for (let i = 0; i < runs; i++) {
    const target = place(box, index);
    const source = place(block, index);
    await file.seek(start + target * BYTES_PER_NUMBER[dtype], Deno.SeekMode.Start);
    for (let first = source; first < source + run; first += NUMBERS_AT_A_TIME) {
      const end = Math.min(first + NUMBERS_AT_A_TIME, source + run);
      await writeFully(file, narrow(block.values.subarray(first, end), dtype));
    }
    for (let k = axis - 1; k >= 0; k--) {
      if (++index[k] < extent[k]) break;
      index[k] = 0;
    }
  }
  return runs * run;
}

/**
 * Make sure that blocks covered a tensor.
 *
 * @throws {RangeError} When they did not: a fault of the reader.
 */
export function checkCovered({ name, shape }: BlockTensor, written: number): void {
  if (written === elementCount(shape)) return;
  throw new RangeError(
    `Cannot store ${name}: its blocks have ${written} numbers, its shape [${shape.join(", ")}] ` +
      `takes ${elementCount(shape)}`,
  );
}

/**
 * Write a safetensors file from tensors that come in blocks, and make sure that it has reached the
 * disk.
 *
 * @param path The file, which must not exist.
 * @param tensors The tensors.
 * @param dtype Format of the stored numbers.
 * @param onTensor Called before each tensor.
 * @returns Size of the file in bytes.
 * @throws {RangeError} When a name appears twice or a number does not fit the format.
 */
export async function writeSafetensorsBlocks(
  path: string,
  tensors: readonly BlockTensor[],
  dtype: WritableDtype,
  onTensor: (tensor: BlockTensor) => void = () => {},
): Promise<number> {
  const header = buildHeader(tensors.map(({ name, shape }) => ({ name, shape, dtype })), {});
  using file = await Deno.open(path, { write: true, createNew: true });
  await writeFully(file, header);
  let start = header.length;
  for (const tensor of tensors) {
    onTensor(tensor);
    const { shape } = tensor;
    const box = { origin: shape.map(() => 0), shape };
    let written = 0;
    for await (const block of tensor.blocks()) {
      written += await writeShared(file, start, box, block, dtype);
    }
    checkCovered(tensor, written);
    start += elementCount(shape) * BYTES_PER_NUMBER[dtype];
  }
  await file.sync();
  return start;
}
