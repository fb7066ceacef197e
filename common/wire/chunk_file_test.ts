import assert from "node:assert/strict";
import fc from "fast-check";
import type { ChunkTransition } from "../types.ts";
import { decodeChunks, encodeChunks } from "./chunk_file.ts";
import { encodeFrame } from "./frames.ts";
import { sampleTransition } from "./testing.ts";

const chunks = Array.from({ length: 5 }, (_, i) => sampleTransition(i));

/** The file that holds one frame. */
function fileOf(frame: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + frame.length);
  new DataView(out.buffer).setUint32(0, frame.length, true);
  out.set(frame, 4);
  return out;
}

Deno.test("decodeChunks() gives back what encodeChunks() was given", () => {
  assert.deepEqual(decodeChunks(encodeChunks(chunks)), chunks);
  assert.deepEqual(decodeChunks(encodeChunks([])), []);
  // From the middle of a larger buffer, as files are read.
  const bytes = encodeChunks(chunks);
  const inside = new Uint8Array(bytes.length + 7).subarray(7);
  inside.set(bytes);
  assert.deepEqual(decodeChunks(inside), chunks);
});

Deno.test("encodeChunks() cuts frames before they grow too large", () => {
  const side = 512;
  const image = { width: side, height: side, data: new Uint8Array(3 * side * side).fill(7) };
  const { observation } = chunks[0];
  const images = { cam_high: image, cam_left_wrist: image, cam_right_wrist: image };
  const large = chunks.map((chunk): ChunkTransition => ({
    ...chunk,
    observation: { ...observation, images },
  }));
  const bytes = encodeChunks(large);
  const first = new DataView(bytes.buffer).getUint32(0, true);
  assert.ok(first < 8 * 2 ** 20 && first + 4 < bytes.length);
  assert.deepEqual(decodeChunks(bytes), large);
});

Deno.test("decodeChunks() refuses a file that is cut short, wherever", () => {
  const bytes = encodeChunks(chunks);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: bytes.length - 1 }), (length) => {
      assert.throws(() => decodeChunks(bytes.subarray(0, length)), /Cannot read/);
    }),
    { numRuns: 50, seed: 1 },
  );
});

Deno.test("decodeChunks() refuses frames of other messages and chunks that cannot be", () => {
  assert.throws(
    () => decodeChunks(fileOf(encodeFrame({ type: "busy" }))),
    /^RangeError: Cannot read chunks: the frame at byte 4 is not of them: it is a busy message$/,
  );
  const broken = [{ ...chunks[0], logProb: 1 }];
  const file = fileOf(encodeFrame({ type: "transitions", transitions: broken }));
  assert.throws(() => decodeChunks(file), /^RangeError: Cannot read chunks: .* is not of them: /);
});
