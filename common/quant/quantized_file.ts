/**
 * Quantised weights as a safetensors file, whole: writing one, and reading it into memory. What lies
 * where is in `quantized_header.ts`.
 *
 * @module
 */

import { CheckpointError } from "../checkpoint/errors.ts";
import { fileError } from "../checkpoint/file_ranges.ts";
import { elementCount, LENGTH_BYTES } from "../checkpoint/safetensors_header.ts";
import type { HostTensor } from "../types.ts";
import { GROUP_SIZE } from "./group_scale.ts";
import {
  FORMATS,
  readQuantizedHeader,
  SCALES_SUFFIX,
  STORED_BYTES,
  storedShapes,
} from "./quantized_header.ts";
import {
  type Bits,
  createQuantizedTensor,
  type QuantizedTensor,
  type QuantizedWeights,
} from "./quantized_tensor.ts";

interface Part {
  readonly name: string;
  readonly dtype: keyof typeof STORED_BYTES;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  new Uint8Array(buffer, byteOffset, byteLength);

function partsOf({ matrices, floats }: QuantizedWeights): Part[] {
  const quantised = [...matrices.values()].flatMap((tensor): Part[] => {
    const { bits, name, shape, layout, values, scales } = tensor;
    const stored = storedShapes(bits, shape, layout);
    const dtype = bits === 8 ? "I8" : "U8";
    return [
      { name, dtype, shape: stored.values, bytes: bytesOf(values) },
      { name: name + SCALES_SUFFIX, dtype: "F16", shape: stored.scales, bytes: bytesOf(scales) },
    ];
  });
  const others = [...floats.values()].map(({ name, shape, data }): Part => ({
    name,
    dtype: "F32",
    shape,
    bytes: bytesOf(data),
  }));
  // Wide numbers first, so that each tensor begins at a multiple of its number's size.
  return [...others, ...quantised].sort((a, b) => STORED_BYTES[b.dtype] - STORED_BYTES[a.dtype]);
}

/** The header's text; 4-bit matrices are stored under another shape than their own. */
function textOf({ matrices }: QuantizedWeights): Record<string, string> {
  const bits: Bits = [...matrices.values()][0]?.bits ?? 8;
  const text = { format: FORMATS[bits], group_size: String(GROUP_SIZE) };
  if (bits === 8) return text;
  const shapes = Object.fromEntries([...matrices].map(([name, { shape }]) => [name, shape]));
  return { ...text, shapes: JSON.stringify(shapes) };
}

async function writeFully(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) written += await file.write(bytes.subarray(written));
}

/**
 * Write quantised weights and make sure that they have reached the disk.
 *
 * @param path The file, which must not exist.
 * @param weights The weights.
 * @returns Size of the file in bytes.
 */
export async function writeQuantizedFile(path: string, weights: QuantizedWeights): Promise<number> {
  const parts = partsOf(weights);
  const header: Record<string, unknown> = { __metadata__: textOf(weights) };
  let end = 0;
  for (const { name, dtype, shape, bytes } of parts) {
    header[name] = { dtype, shape, data_offsets: [end, end += bytes.length] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(json.length / LENGTH_BYTES) * LENGTH_BYTES;
  const start = new Uint8Array(LENGTH_BYTES + length).fill(0x20); // the format pads with spaces
  new DataView(start.buffer).setBigUint64(0, BigInt(length), true);
  start.set(json, LENGTH_BYTES);
  using file = await Deno.open(path, { write: true, createNew: true });
  await writeFully(file, start);
  for (const { bytes } of parts) await writeFully(file, bytes);
  await file.sync();
  return start.length + end;
}

/**
 * Fill an array from a file.
 *
 * @param file The open file.
 * @param at First byte.
 * @param target What is filled.
 * @param path Name of the file, for errors.
 * @throws {CheckpointError} When the file ends too early.
 */
export async function fillFrom(
  file: Deno.FsFile,
  at: number,
  target: ArrayBufferView,
  path: string,
): Promise<void> {
  const bytes = bytesOf(target);
  await file.seek(at, Deno.SeekMode.Start);
  for (let filled = 0; filled < bytes.length;) {
    const count = await file.read(bytes.subarray(filled));
    if (count === null) {
      throw new CheckpointError(`Cannot read ${path}: it became shorter while it was read.`);
    }
    filled += count;
  }
}

/**
 * Read quantised weights.
 *
 * @param path A file of {@link writeQuantizedFile}.
 * @returns The weights.
 * @throws {CheckpointError} When it is missing, truncated or another kind of file.
 */
export async function readQuantizedFile(path: string): Promise<QuantizedWeights> {
  const { bits, entries } = await readQuantizedHeader(path);
  const matrices = new Map<string, QuantizedTensor>();
  const floats = new Map<string, HostTensor>();
  try {
    using file = await Deno.open(path, { read: true });
    for (const { name, shape, layout, start, scalesStart } of entries) {
      if (layout === undefined || scalesStart === undefined) {
        const data = new Float32Array(elementCount(shape));
        await fillFrom(file, start, data, path);
        floats.set(name, { name, shape, data });
        continue;
      }
      const tensor = createQuantizedTensor(bits, name, shape, layout);
      await fillFrom(file, start, tensor.values, path);
      await fillFrom(file, scalesStart, tensor.scales, path);
      matrices.set(name, tensor);
    }
  } catch (error) {
    throw fileError(error, path);
  }
  return { matrices, floats };
}
