import assert from "node:assert/strict";
import fc from "fast-check";
import type { RgbImage } from "../types.ts";
import { SeenPictures } from "./vision_pictures.ts";
import { withByte } from "./vision_testing.ts";

/** Pictures of 27 bytes: a word begins where they end. */
const MODEL = {
  siglip: { imageSize: 3, patch: 3, width: 4, depth: 1, mlpDim: 4, heads: 1 },
  width: 4,
  cameras: 3,
};
const BYTES = 27;

function picture(level: number): RgbImage {
  return { width: 3, height: 3, data: new Uint8Array(BYTES).fill(level) };
}

Deno.test("SeenPictures.look() names exactly the cameras with another byte than last time", () => {
  const flip = fc.record({ camera: fc.nat(2), at: fc.nat(BYTES - 1) });
  fc.assert(
    fc.property(fc.array(fc.array(flip, { maxLength: 4 }), { maxLength: 6 }), (calls) => {
      const seen = new SeenPictures(MODEL);
      let images = [0, 1, 2].map(picture);
      assert.deepEqual(seen.look(images), [0, 1, 2]);
      for (const flips of calls) {
        const before = images;
        images = [...images];
        for (const { camera, at } of flips) images[camera] = withByte(images[camera], at);
        const differs = (_: RgbImage, c: number) =>
          images[c].data.some((byte, i) => byte !== before[c].data[i]);
        const expected = [0, 1, 2].filter((c) => differs(images[c], c));
        assert.deepEqual(seen.look(images), expected);
        assert.deepEqual(seen.look(images), []);
        for (const [c, { data }] of images.entries()) {
          assert.deepEqual(seen.bytes(c), Uint8Array.of(...data, 0));
        }
      }
      seen.forget();
      assert.deepEqual(seen.look(images), [0, 1, 2]);
    }),
    { numRuns: 50 },
  );
});

Deno.test("SeenPictures.look() sees a change of an array that it has seen, and refuses as a whole", () => {
  const seen = new SeenPictures(MODEL);
  const images = [0, 0, 0].map(picture);
  seen.look(images);
  images[1].data[26] = 1;
  assert.deepEqual(seen.look(images), [1]);
  const other = [picture(7), picture(7), { ...picture(7), height: 4 }];
  assert.throws(() => seen.look(other), /camera 2: it is 3×4 with 27 bytes/);
  assert.throws(() => seen.look(images.slice(1)), /Cannot encode 2 pictures/);
  assert.deepEqual(seen.look(images), []);
});
