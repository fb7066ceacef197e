/**
 * 8-bit weights as a safetensors file: a matrix `NAME` as I8 in the checkpoint's shape, its scales
 * `NAME.scales` as F16 `[O, G, I]`, and everything else as F32.
 *
 * @module
 */

import { z } from "zod";
import { CheckpointError } from "../checkpoint/errors.ts";
import { fileError, fileSize, readRange } from "../checkpoint/file_ranges.ts";
import { elementCount, headerLength, LENGTH_BYTES } from "../checkpoint/safetensors_header.ts";
import type { HostTensor } from "../types.ts";
import { createInt8Tensor, GROUP_SIZE, type Int8Tensor } from "./int8_tensor.ts";
import type { Int8Weights } from "./load_int8.ts";
import { matrixLayout } from "./matrix_layout.ts";

const SCALES = ".scales";
const METADATA = { format: "tendon-int8", group_size: String(GROUP_SIZE) };

const BYTES = { I8: 1, F16: 2, F32: 4 } as const;

interface Part {
  readonly name: string;
  readonly dtype: keyof typeof BYTES;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  new Uint8Array(buffer, byteOffset, byteLength);

function scalesShape({ layout: { outer, contraction, inner } }: Int8Tensor): number[] {
  return [outer, Math.ceil(contraction / GROUP_SIZE), inner];
}

function partsOf({ matrices, floats }: Int8Weights): Part[] {
  const quantised = [...matrices.values()].flatMap((tensor): Part[] => [
    { name: tensor.name, dtype: "I8", shape: tensor.shape, bytes: bytesOf(tensor.values) },
    {
      name: tensor.name + SCALES,
      dtype: "F16",
      shape: scalesShape(tensor),
      bytes: bytesOf(tensor.scales),
    },
  ]);
  const others = [...floats.values()].map(({ name, shape, data }): Part => ({
    name,
    dtype: "F32",
    shape,
    bytes: bytesOf(data),
  }));
  // Wide numbers first, so that each tensor begins at a multiple of its number's size.
  return [...others, ...quantised].sort((a, b) => BYTES[b.dtype] - BYTES[a.dtype]);
}

async function writeFully(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) written += await file.write(bytes.subarray(written));
}

/**
 * Write 8-bit weights and make sure that they have reached the disk.
 *
 * @param path The file, which must not exist.
 * @param weights The weights.
 * @returns Size of the file in bytes.
 */
export async function writeInt8File(path: string, weights: Int8Weights): Promise<number> {
  const parts = partsOf(weights);
  const header: Record<string, unknown> = { __metadata__: METADATA };
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

const size = z.int().min(0);
const headerSchema = z.looseObject({
  __metadata__: z.looseObject({
    format: z.literal(METADATA.format),
    group_size: z.literal(METADATA.group_size),
  }),
});
const entriesSchema = z.record(
  z.string(),
  z.object({
    dtype: z.enum(["I8", "F16", "F32"]),
    shape: z.array(size),
    data_offsets: z.tuple([size, size]),
  }),
);

/** Check that every entry has the bytes that its shape takes, one after the other to the end. */
function checkPlaces(
  entries: z.infer<typeof entriesSchema>,
  dataBytes: number,
  refuse: (reason: string) => CheckpointError,
): void {
  let end = 0;
  const sorted = Object.entries(entries).sort(([, a], [, b]) =>
    a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1]
  );
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of sorted) {
    if (from !== end || to - from !== elementCount(shape) * BYTES[dtype]) {
      throw refuse(`tensor ${JSON.stringify(name)} is not where its shape says`);
    }
    end = to;
  }
  if (end !== dataBytes) {
    throw refuse(`its tensors take ${end} bytes and ${dataBytes} are there; it is truncated`);
  }
}

/**
 * Read 8-bit weights.
 *
 * @param path A file of {@link writeInt8File}.
 * @returns The weights.
 * @throws {CheckpointError} When it is missing, truncated or another kind of file.
 */
export async function readInt8File(path: string): Promise<Int8Weights> {
  const refuse = (reason: string, cause?: unknown) =>
    new CheckpointError(`Cannot read ${path}: ${reason}.`, { cause });
  const fileBytes = await fileSize(path);
  const prefix = await readRange(path, 0, Math.min(LENGTH_BYTES, fileBytes));
  const length = headerLength(prefix, fileBytes, path);
  const start = LENGTH_BYTES + length;
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(
      await readRange(path, LENGTH_BYTES, length),
    ));
  } catch (cause) {
    throw refuse("its header is not JSON", cause);
  }
  const parsed = headerSchema.safeParse(json);
  if (!parsed.success) throw refuse("it holds no 8-bit weights in groups of 32");
  const { __metadata__: _, ...rest } = parsed.data;
  const checked = entriesSchema.safeParse(rest);
  if (!checked.success) throw refuse("its header describes no tensors of I8, F16 and F32");
  const entries = checked.data;
  checkPlaces(entries, fileBytes - start, refuse);

  const matrices = new Map<string, Int8Tensor>();
  const floats = new Map<string, HostTensor>();
  using file = await Deno.open(path, { read: true });
  const fill = async (target: ArrayBufferView, at: number) => {
    const bytes = bytesOf(target);
    await file.seek(start + at, Deno.SeekMode.Start);
    for (let filled = 0; filled < bytes.length;) {
      const count = await file.read(bytes.subarray(filled));
      if (count === null) throw refuse("it became shorter while it was read");
      filled += count;
    }
  };
  try {
    for (const [name, { dtype, shape, data_offsets: [at] }] of Object.entries(entries)) {
      if (dtype === "F32") {
        const data = new Float32Array(elementCount(shape));
        await fill(data, at);
        floats.set(name, { name, shape, data });
      } else if (dtype === "I8") {
        const layout = matrixLayout(name, shape);
        const scales = entries[name + SCALES];
        if (layout === undefined) throw refuse(`${name} is no matrix of the model`);
        const tensor = createInt8Tensor(name, shape, layout);
        if (scales?.dtype !== "F16" || scales.shape.join() !== scalesShape(tensor).join()) {
          throw refuse(`${name} has no scales that fit it`);
        }
        await fill(tensor.values, at);
        await fill(tensor.scales, scales.data_offsets[0]);
        matrices.set(name, tensor);
      } else if (entries[name.slice(0, -SCALES.length)]?.dtype !== "I8") {
        throw refuse(`${name} scales nothing`);
      }
    }
  } catch (error) {
    throw fileError(error, path);
  }
  return { matrices, floats };
}
