import assert from "node:assert/strict";
import fc from "fast-check";
import { CAMERA_NAMES, type Observation, type RgbImage } from "../types.ts";
import { fitImages, resizeFloatsWithPad, resizeWithPad } from "./image_resize.ts";

// Equality with openpi's resize_with_pad is tested in tests/openpi/.

function flat(width: number, height: number, level: number): RgbImage {
  return { width, height, data: new Uint8Array(width * height * 3).fill(level) };
}

/** Rows and columns that are not the bars' 0. */
function filled({ width, height, data }: RgbImage) {
  const isFilled = (row: number, column: number) => data[(row * width + column) * 3] > 0;
  const rows = Array.from({ length: height }, (_, row) => row)
    .filter((row) => isFilled(row, width >> 1));
  const columns = Array.from({ length: width }, (_, column) => column)
    .filter((column) => isFilled(height >> 1, column));
  return { rows: [rows[0], rows.at(-1)], columns: [columns[0], columns.at(-1)] };
}

Deno.test("resizeWithPad() centres the picture; an odd bar is wider below and right", () => {
  assert.deepEqual(filled(resizeWithPad(flat(640, 480, 9), 224, 224)), {
    rows: [28, 195],
    columns: [0, 223],
  });
  assert.deepEqual(filled(resizeWithPad(flat(10, 7, 9), 10, 10)).rows, [1, 7]);
  assert.deepEqual(filled(resizeWithPad(flat(7, 10, 9), 10, 10)).columns, [1, 7]);
});

Deno.test("resizeWithPad() gives back a picture of the size wanted, untouched", () => {
  const image = flat(5, 5, 3);
  assert.equal(resizeWithPad(image, 5, 5), image);
});

Deno.test("resizeWithPad() keeps a flat picture flat, whatever the sizes", () => {
  const side = fc.integer({ min: 8, max: 40 });
  fc.assert(
    fc.property(side, side, side, fc.integer({ min: 1, max: 255 }), (width, height, to, level) => {
      const found = resizeWithPad(flat(width, height, level), to, to);
      assert.equal(found.data.length, to * to * 3);
      assert.ok(found.data.every((x) => x === 0 || x === level));
      assert.ok(found.data.includes(level));
    }),
    { numRuns: 50 },
  );
});

Deno.test("resizeWithPad() rounds the floats' result, halves to even, and forgets what it did before", () => {
  const size = fc.integer({ min: 1, max: 60 });
  fc.assert(
    fc.property(size, size, size, size, fc.integer(), (width, height, toWidth, toHeight, seed) => {
      fc.pre(Math.max(width / height, height / width) < toWidth && width / height * toHeight >= 1);
      fc.pre(height / width * toWidth >= 1);
      let x = seed;
      const data = Uint8Array.from(
        { length: width * height * 3 },
        () => (x = (Math.imul(x, 1664525) + 1013904223) >>> 0) >>> 24,
      );
      const found = resizeWithPad({ width, height, data }, toHeight, toWidth).data;
      // Steps of 2^-8 are exact in float32, and so is everything that is made of them but rounding.
      const to = { width: toWidth, height: toHeight };
      const floats = resizeFloatsWithPad(
        Float32Array.from(data, (v) => v / 256),
        { width, height },
        to,
      );
      floats.forEach((value, i) => {
        const expected = value === -1 ? 0 : 256 * value;
        assert.ok(Math.abs(found[i] - expected) <= 0.5, `${found[i]}, expected ${expected}`);
      });
      assert.deepEqual(resizeWithPad({ width, height, data }, toHeight, toWidth).data, found);
    }),
    { numRuns: 60 },
  );
});

Deno.test("resizeFloatsWithPad() clips to [−1, 1] and fills bars with −1", () => {
  const data = new Float32Array(2 * 4 * 3).fill(1.5);
  const found = resizeFloatsWithPad(data, { height: 2, width: 4 }, { height: 4, width: 4 });
  assert.deepEqual([...found], [
    ...new Array(12).fill(-1),
    ...new Array(24).fill(1),
    ...new Array(12).fill(-1),
  ]);
});

Deno.test("resizeWithPad() refuses data of another size, and pictures that would vanish", () => {
  assert.throws(() => resizeWithPad({ width: 4, height: 2, data: new Uint8Array(3) }, 8, 8), {
    name: "RangeError",
    message: "Cannot resize: a 4×2 picture has 24 values, this one has 3",
  });
  assert.throws(() => resizeWithPad(flat(100, 1, 1), 8, 8), /leaves no pixel/);
});

Deno.test("fitImages() resizes what does not fit, and leaves an observation that does", () => {
  const observe = (side: number): Observation => ({
    images: Object.fromEntries(CAMERA_NAMES.map((camera) => [camera, flat(side, side, 7)])),
    state: new Float32Array(14),
    prompt: "reach",
  } as unknown as Observation);
  const fitting = observe(8);
  assert.equal(fitImages(fitting, 8), fitting);
  const { images, state } = fitImages(observe(16), 8);
  for (const camera of CAMERA_NAMES) assert.deepEqual(images[camera], flat(8, 8, 7));
  assert.equal(state.length, 14);
});
