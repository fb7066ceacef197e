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

/** Formats of matrices that Tendon quantised; read where their scales lie beside them. */
export const QUANTIZED_DTYPES = ["I8", "I4"] as const;

/** One of {@link QUANTIZED_DTYPES}. */
export type QuantizedDtype = (typeof QUANTIZED_DTYPES)[number];

/** Formats that can be written. */
export type WritableDtype = ReadableDtype;

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

/** Keep the upper half of each float32, rounded to nearest, ties to even. */
function toBfloat16(values: Float32Array): Uint8Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    // Rounding a NaN could carry it into infinity: keep its upper half and make it a quiet NaN.
    const isNaN = (word & 0x7fffffff) > 0x7f800000;
    halves[i] = isNaN ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return new Uint8Array(halves.buffer);
}

/**
 * Turn float32 values into stored numbers; F16 and BF16 round to nearest, ties to even.
 *
 * @param values Values.
 * @param dtype Format to store.
 * @returns Little-endian bytes; a view of `values` itself for F32.
 * @throws {RangeError} When a finite value is beyond ±65504 and F16 was asked for. Values within half
 *   a step of BF16's largest number, 3.39e38, become infinite, as everywhere.
 */
export function narrow(values: Float32Array, dtype: WritableDtype): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (dtype === "BF16") return toBfloat16(values);
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
