/**
 * Number formats of stored tensors and their conversion to and from float32.
 *
 * Bytes are little-endian, as in the safetensors format and on every platform that Deno runs on.
 *
 * @module
 */

/** Formats that can be read. */
export const READABLE_DTYPES = ["F32", "F16", "BF16"] as const;

/** One of {@link READABLE_DTYPES}. */
export type ReadableDtype = (typeof READABLE_DTYPES)[number];

/** Formats that can be written. */
export type WritableDtype = "F32" | "F16";

/** Bytes of one number. */
export const BYTES_PER_NUMBER: Readonly<Record<ReadableDtype, number>> = {
  F32: 4,
  F16: 2,
  BF16: 2,
};

/** Largest finite half-precision number (IEEE 754 binary16). */
const MAX_FLOAT16 = 65504;

/**
 * Widen stored numbers to float32, which is exact.
 *
 * @param bytes Little-endian numbers; a view that starts at a multiple of their size.
 * @param dtype Their format.
 * @param target Where the float32 values go; as long as there are numbers.
 */
export function widen(
  bytes: Uint8Array<ArrayBuffer>,
  dtype: ReadableDtype,
  target: Float32Array,
): void {
  const { buffer, byteOffset } = bytes;
  switch (dtype) {
    case "F32":
      target.set(new Float32Array(buffer, byteOffset, target.length));
      return;
    case "F16":
      target.set(new Float16Array(buffer, byteOffset, target.length));
      return;
    case "BF16": {
      // A bfloat16 is the upper half of a float32.
      const halves = new Uint16Array(buffer, byteOffset, target.length);
      const words = new Uint32Array(target.buffer, target.byteOffset, target.length);
      for (let i = 0; i < halves.length; i++) words[i] = halves[i] << 16;
      return;
    }
    default:
      dtype satisfies never;
  }
}

/**
 * Turn float32 values into stored numbers; F16 rounds to nearest, ties to even.
 *
 * @param values Values.
 * @param dtype Format to store.
 * @returns Little-endian bytes; a view of `values` itself for F32.
 * @throws {RangeError} When a finite value is beyond ±65504 and F16 was asked for.
 */
export function narrow(values: Float32Array, dtype: WritableDtype): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const halves = Float16Array.from(values);
  const overflow = halves.findIndex((half, i) =>
    !Number.isFinite(half) && Number.isFinite(values[i])
  );
  if (overflow >= 0) {
    throw new RangeError(
      `Cannot store ${values[overflow]} as F16: the largest number is ${MAX_FLOAT16}; store F32`,
    );
  }
  return new Uint8Array(halves.buffer);
}
