/**
 * What a safetensors file of quantised weights holds and where, before any of it is read.
 *
 * A matrix `NAME` lies as its integers and, as `NAME.scales`, its scales in F16; everything else is F32.
 * In 8 bits the integers are I8 in the checkpoint's shape and scales are `[O, G, I]`; in 4 bits they are
 * U8 `[O, I, 16 · G]`, two integers a byte, scales are `[O, I, G]`, and the shape is in the header's
 * text.
 *
 * @module
 */

import { z } from "zod";
import { CheckpointError } from "../checkpoint/errors.ts";
import { fileSize, readRange } from "../checkpoint/file_ranges.ts";
import { elementCount, headerLength, LENGTH_BYTES } from "../checkpoint/safetensors_header.ts";
import { GROUP_SIZE } from "./group_scale.ts";
import { type MatrixLayout, matrixLayout } from "./matrix_layout.ts";
import type { Bits } from "./quantized_tensor.ts";

/** What a matrix's name ends in where its scales lie. */
export const SCALES_SUFFIX = ".scales";

/** Bytes of a stored number. */
export const STORED_BYTES = { I8: 1, U8: 1, F16: 2, F32: 4 } as const;

/** How a file says that it holds weights in so many bits. */
export const FORMATS: Readonly<Record<Bits, string>> = { 8: "tendon-int8", 4: "tendon-int4" };

/** A tensor of the model in such a file. */
export interface QuantizedEntry {
  /** Its name. */
  readonly name: string;
  /** Shape in the model. */
  readonly shape: readonly number[];
  /** How it is seen as matrices; undefined when it is F32. */
  readonly layout: MatrixLayout | undefined;
  /** First byte of its numbers, counted from the start of the file. */
  readonly start: number;
  /** First byte of its scales; undefined when it is F32. */
  readonly scalesStart: number | undefined;
}

/** A file of quantised weights. */
export interface QuantizedHeader {
  /** Bits of its integers. */
  readonly bits: Bits;
  /** The model's tensors. */
  readonly entries: readonly QuantizedEntry[];
}

/**
 * Shapes under which a matrix is stored.
 *
 * @param bits Of an integer.
 * @param shape Its shape in the model.
 * @param layout How it is seen as matrices.
 * @returns Shapes of its integers and of its scales.
 */
export function storedShapes(
  bits: Bits,
  shape: readonly number[],
  { outer, contraction, inner }: MatrixLayout,
): { values: readonly number[]; scales: readonly number[] } {
  const groups = Math.ceil(contraction / GROUP_SIZE);
  return bits === 8
    ? { values: shape, scales: [outer, groups, inner] }
    : { values: [outer, inner, groups * GROUP_SIZE / 2], scales: [outer, inner, groups] };
}

const size = z.int().min(0);
const textSchema = z.object({
  format: z.enum([FORMATS[8], FORMATS[4]]),
  group_size: z.literal(String(GROUP_SIZE)),
  shapes: z.string().optional(),
});
const headerSchema = z.looseObject({ __metadata__: textSchema });
const shapesSchema = z.record(z.string(), z.array(size));
const entriesSchema = z.record(
  z.string(),
  z.object({
    dtype: z.enum(["I8", "U8", "F16", "F32"]),
    shape: z.array(size),
    data_offsets: z.tuple([size, size]),
  }),
);
type Stored = z.infer<typeof entriesSchema>;

/**
 * Whether the text in a safetensors header says that its weights are quantised as here.
 *
 * @param metadata The header's `__metadata__`.
 */
export function isQuantizedFormat(metadata: Readonly<Record<string, string>>): boolean {
  return Object.values(FORMATS).includes(metadata.format);
}

/**
 * Read the header and check that everything it names is there.
 *
 * @param path The file.
 * @throws {CheckpointError} When it is missing, truncated or another kind of file.
 */
export async function readQuantizedHeader(path: string): Promise<QuantizedHeader> {
  const refuse = (reason: string, cause?: unknown) =>
    new CheckpointError(`Cannot read ${path}: ${reason}.`, { cause });
  const fileBytes = await fileSize(path);
  const prefix = await readRange(path, 0, Math.min(LENGTH_BYTES, fileBytes));
  const length = headerLength(prefix, fileBytes, path);
  const start = LENGTH_BYTES + length;
  const parse = (text: string): unknown => {
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw refuse("its header is not JSON", cause);
    }
  };
  const parsed = headerSchema.safeParse(
    parse(new TextDecoder().decode(await readRange(path, LENGTH_BYTES, length))),
  );
  if (!parsed.success) throw refuse("it holds no 8-bit or 4-bit weights in groups of 32");
  const { __metadata__: text, ...rest } = parsed.data;
  const checked = entriesSchema.safeParse(rest);
  const shapes = shapesSchema.safeParse(parse(text.shapes ?? "{}"));
  if (!checked.success || !shapes.success) {
    throw refuse("its header describes no tensors of I8, U8, F16 and F32");
  }
  checkPlaces(checked.data, fileBytes - start, refuse);
  const bits = text.format === FORMATS[8] ? 8 : 4;
  return { bits, entries: entriesOf(bits, checked.data, shapes.data, start, refuse) };
}

/** Check that every entry has the bytes that its shape takes, one after the other to the end. */
function checkPlaces(
  stored: Stored,
  dataBytes: number,
  refuse: (reason: string) => CheckpointError,
): void {
  let end = 0;
  const sorted = Object.entries(stored).sort(([, a], [, b]) =>
    a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1]
  );
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of sorted) {
    if (from !== end || to - from !== elementCount(shape) * STORED_BYTES[dtype]) {
      throw refuse(`tensor ${JSON.stringify(name)} is not where its shape says`);
    }
    end = to;
  }
  if (end !== dataBytes) {
    throw refuse(`its tensors take ${end} bytes and ${dataBytes} are there; it is truncated`);
  }
}

function entriesOf(
  bits: Bits,
  stored: Stored,
  shapes: Readonly<Record<string, readonly number[]>>,
  dataStart: number,
  refuse: (reason: string) => CheckpointError,
): QuantizedEntry[] {
  const entries: QuantizedEntry[] = [];
  for (const [name, { dtype, shape: storedShape, data_offsets: [at] }] of Object.entries(stored)) {
    const start = dataStart + at;
    if (dtype === "F32") {
      entries.push({ name, shape: storedShape, layout: undefined, start, scalesStart: undefined });
    } else if (dtype === "F16") {
      const owner = stored[name.slice(0, -SCALES_SUFFIX.length)]?.dtype;
      if (owner !== "I8" && owner !== "U8") throw refuse(`${name} scales nothing`);
    } else {
      const shape = bits === 8 ? storedShape : shapes[name];
      const layout = shape && matrixLayout(name, shape);
      if (!layout) throw refuse(`${name} is no matrix of the model`);
      const expected = storedShapes(bits, shape, layout);
      const scales = stored[name + SCALES_SUFFIX];
      const isWhole = dtype === (bits === 8 ? "I8" : "U8") &&
        storedShape.join() === expected.values.join() && scales?.dtype === "F16" &&
        scales.shape.join() === expected.scales.join();
      if (!isWhole) throw refuse(`${name} has no integers and scales that fit it`);
      const scalesStart = dataStart + scales.data_offsets[0];
      entries.push({ name, shape, layout, start, scalesStart });
    }
  }
  return entries;
}
