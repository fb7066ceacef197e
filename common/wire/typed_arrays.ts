/**
 * MessagePack with Float32Array and Int32Array as extensions (Uint8Array is MessagePack's own `bin`).
 *
 * Payload: one byte with the number of padding bytes (0–3), the padding, then the elements in
 * little-endian order, which is the order of every machine that Deno runs on. The padding puts the
 * elements at a multiple of four from the start of the frame, so that the receiver can look at the
 * received buffer itself instead of copying it.
 *
 * @module
 */
import { Decoder, Encoder, ExtensionCodec } from "@msgpack/msgpack";
import { WireError } from "./wire_error.ts";

const FLOAT32_EXTENSION = 1;
const INT32_EXTENSION = 2;
const ELEMENT_BYTES = 4;

const CODEC = createCodec();

/**
 * Encode a value.
 * @param value Anything that MessagePack has, Float32Array and Int32Array.
 * @param expectedBytes Size to allocate at first; a good guess saves copies.
 * @returns The bytes, in a buffer of their own.
 */
export function pack(value: unknown, expectedBytes: number): Uint8Array<ArrayBuffer> {
  // The encoder is not used again, so its buffer may be handed out instead of a copy.
  return new Encoder({
    extensionCodec: CODEC,
    ignoreUndefined: true,
    initialBufferSize: expectedBytes,
  }).encodeSharedRef(value);
}

/**
 * Decode what {@link pack} made.
 * @param bytes One document.
 * @returns The value; typed arrays are views on the bytes where their alignment allows.
 * @throws {Error} If the bytes are not valid.
 */
export function unpack(bytes: Uint8Array): unknown {
  return new Decoder({ extensionCodec: CODEC }).decode(bytes);
}

function createCodec(): ExtensionCodec {
  const codec = new ExtensionCodec();
  codec.register({
    type: FLOAT32_EXTENSION,
    encode: (value) => (value instanceof Float32Array ? padded(value) : null),
    decode: (data) => {
      const place = elementsOf(data);
      return new Float32Array(place.buffer, place.byteOffset, place.length);
    },
  });
  codec.register({
    type: INT32_EXTENSION,
    encode: (value) => (value instanceof Int32Array ? padded(value) : null),
    decode: (data) => {
      const place = elementsOf(data);
      return new Int32Array(place.buffer, place.byteOffset, place.length);
    },
  });
  return codec;
}

function padded(values: Float32Array | Int32Array): (dataPosition: number) => Uint8Array {
  return (dataPosition) => {
    const padding = (ELEMENT_BYTES - ((dataPosition + 1) % ELEMENT_BYTES)) % ELEMENT_BYTES;
    const payload = new Uint8Array(1 + padding + values.byteLength);
    payload[0] = padding;
    payload.set(
      new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
      1 + padding,
    );
    return payload;
  };
}

function elementsOf(
  data: Uint8Array,
): { buffer: ArrayBufferLike; byteOffset: number; length: number } {
  const padding = data[0];
  const payloadBytes = data.length - 1 - padding;
  if (data.length === 0 || padding >= ELEMENT_BYTES || payloadBytes < 0) {
    throw new WireError("malformed", "Cannot read frame: a typed array has a broken header");
  }
  if (payloadBytes % ELEMENT_BYTES !== 0) {
    throw new WireError(
      "malformed",
      `Cannot read frame: a typed array has ${payloadBytes} bytes, not a multiple of 4`,
    );
  }
  const start = data.byteOffset + 1 + padding;
  const length = payloadBytes / ELEMENT_BYTES;
  if (start % ELEMENT_BYTES === 0) return { buffer: data.buffer, byteOffset: start, length };
  const copy = data.slice(1 + padding);
  return { buffer: copy.buffer, byteOffset: 0, length };
}
