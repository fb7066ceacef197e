/**
 * A file of quantised weights as a {@link TensorSource}: whoever reads it sees float32, dequantised a
 * matrix at a time, and need not know that it is stored in few bits.
 *
 * @module
 */

import { createTensorSource } from "../checkpoint/create_source.ts";
import { fileError, streamRange } from "../checkpoint/file_ranges.ts";
import { CheckpointError } from "../checkpoint/errors.ts";
import { elementCount } from "../checkpoint/safetensors_header.ts";
import { blocksOfBytes } from "../checkpoint/tensor_blocks.ts";
import type { StoredTensor, TensorBlock, TensorSource } from "../checkpoint/tensor_source.ts";
import { fillFrom } from "./quantized_file.ts";
import { type QuantizedEntry, readQuantizedHeader } from "./quantized_header.ts";
import { type Bits, createQuantizedTensor, dequantizeTensor } from "./quantized_tensor.ts";

interface FileTensor extends StoredTensor {
  readonly entry: QuantizedEntry;
}

/**
 * Open a file of quantised weights.
 *
 * @param path The file.
 * @returns Its tensors; matrices have the number format `I8` or `I4`.
 * @throws {CheckpointError} When it is missing, truncated or another kind of file.
 */
export async function openQuantizedSource(path: string): Promise<TensorSource> {
  const { bits, entries } = await readQuantizedHeader(path);
  return createTensorSource({
    format: "safetensors",
    path,
    tensors: entries.map((entry): FileTensor => {
      const { name, shape, layout } = entry;
      return { name, shape, dtype: layout ? `I${bits}` : "F32", file: path, entry };
    }),
    skipped: [],
    readBlocks: ({ entry }, maxBlockBytes) =>
      entry.layout ? matrixBlocks(path, bits, entry) : blocksOfBytes(
        streamRange(path, entry.start, 4 * elementCount(entry.shape)),
        { shape: entry.shape, dtype: "F32" },
        maxBlockBytes,
        (found) =>
          new CheckpointError(`Cannot read ${path}: ${entry.name} ends after ${found} bytes.`),
      ),
  });
}

/** One block for each matrix of a stack. */
async function* matrixBlocks(
  path: string,
  bits: Bits,
  { name, shape, layout, start, scalesStart }: QuantizedEntry,
): AsyncGenerator<TensorBlock> {
  const { outerAxes, outer } = layout!;
  // An embedding is a stack of rows: all of one axis is one block then.
  const stack = layout!.inner === 1 ? 1 : outer;
  const single = { ...layout!, outer: outer / stack };
  const leading = layout!.inner === 1 ? [] : shape.slice(0, outerAxes);
  const inner = shape.slice(leading.length);
  for (let matrix = 0; matrix < stack; matrix++) {
    const tensor = createQuantizedTensor(bits, name, inner, single);
    try {
      using file = await Deno.open(path, { read: true });
      const { values, scales } = tensor;
      await fillFrom(file, start + matrix * values.byteLength, values, path);
      await fillFrom(file, scalesStart! + matrix * scales.byteLength, scales, path);
    } catch (error) {
      throw fileError(error, path);
    }
    const origin = shape.map(() => 0);
    for (let axis = leading.length - 1, rest = matrix; axis >= 0; axis--) {
      origin[axis] = rest % leading[axis];
      rest = Math.floor(rest / leading[axis]);
    }
    const { data: values } = dequantizeTensor(tensor);
    yield { origin, shape: [...leading.map(() => 1), ...inner], values };
  }
}
