/**
 * An observation as a short vector for random network distillation: the joints, and each camera's
 * picture in a few grey pixels.
 *
 * @module
 */

import { CAMERA_NAMES, type Observation, type RgbImage } from "../../common/types.ts";

/** Pixels along each side of a camera's small picture. */
export const PIXELS_PER_SIDE = 8;

/** Weights of red, green and blue in a grey value (ITU-R BT.601 luma). */
const LUMA = [0.299, 0.587, 0.114] as const;

/** Numbers that {@link observationFeatures} gives for a state of so many numbers. */
export function featureCount(stateSize: number, pixelsPerSide: number = PIXELS_PER_SIDE): number {
  return stateSize + CAMERA_NAMES.length * pixelsPerSide ** 2;
}

/**
 * Features of an observation: the state as it is, then each camera in order, row by row.
 * @param pixelsPerSide Pixels along each side of the small pictures, above 0.
 * @returns `[F]`; grey values in [0, 1].
 * @throws RangeError if a picture is smaller than that.
 */
export function observationFeatures(
  { state, images }: Observation,
  pixelsPerSide: number = PIXELS_PER_SIDE,
): Float32Array {
  const features = new Float32Array(featureCount(state.length, pixelsPerSide));
  features.set(state);
  CAMERA_NAMES.forEach((camera, i) => {
    const pixels = greyPixels(images[camera], pixelsPerSide);
    features.set(pixels, state.length + i * pixels.length);
  });
  return features;
}

/** Mean grey value of each cell of a grid laid over a picture. */
function greyPixels({ width, height, data }: RgbImage, side: number): Float32Array {
  if (width < side || height < side) {
    throw new RangeError(
      `Cannot shrink a picture of ${width}×${height} pixels to ${side}×${side}: it is smaller`,
    );
  }
  const sums = new Float64Array(side * side);
  const counts = new Float64Array(side * side);
  for (let y = 0; y < height; y++) {
    const row = Math.floor(y * side / height) * side;
    for (let x = 0; x < width; x++) {
      const cell = row + Math.floor(x * side / width);
      const at = 3 * (y * width + x);
      sums[cell] += LUMA[0] * data[at] + LUMA[1] * data[at + 1] + LUMA[2] * data[at + 2];
      counts[cell]++;
    }
  }
  return Float32Array.from(sums, (sum, i) => sum / (255 * counts[i]));
}
