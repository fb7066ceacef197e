import assert from "node:assert/strict";
import { CAMERA_NAMES, type Observation } from "../../common/types.ts";
import { featureCount, observationFeatures } from "./rnd_features.ts";

/** An observation whose cameras show one value each, the first one a brighter upper left quarter. */
function makeObservation(): Observation {
  const side = 16;
  const picture = (value: (x: number, y: number) => number) => ({
    width: side,
    height: side,
    data: Uint8Array.from(
      { length: 3 * side * side },
      (_, i) => value(Math.floor(i / 3) % side, Math.floor(i / 3 / side)),
    ),
  });
  const [high, left, right] = CAMERA_NAMES;
  return {
    images: {
      [high]: picture((x, y) => (x < 8 && y < 8 ? 255 : 51)),
      [left]: picture(() => 0),
      [right]: picture(() => 255),
    } as Observation["images"],
    state: Float32Array.of(0.5, -1),
    prompt: "",
  };
}

Deno.test("observationFeatures() is the state, then each camera's grey cells row by row", () => {
  const features = observationFeatures(makeObservation(), 2);
  assert.equal(features.length, featureCount(2, 2));
  const expected = [0.5, -1, 1, 0.2, 0.2, 0.2, 0, 0, 0, 0, 1, 1, 1, 1];
  features.forEach((x, i) => assert.ok(Math.abs(x - expected[i]) < 1e-6, `[${i}]: ${x}`));
});

Deno.test("observationFeatures() covers pictures that the grid does not divide, refuses small ones", () => {
  const features = observationFeatures(makeObservation(), 5);
  assert.ok(features.every(Number.isFinite));
  assert.throws(() => observationFeatures(makeObservation(), 17), /RangeError: .*16×16 .* 17×17/);
});
