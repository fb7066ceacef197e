/**
 * Fits a camera's picture into the policy's: scaled without distortion, black bars around it.
 *
 * Source: openpi `shared/image_tools.py`, `resize_with_pad`, which scales with `jax.image.resize`:
 * linear interpolation whose kernel widens as the picture shrinks (antialiasing), with weights that
 * sum to 1 at the edges too. The weights are computed in float32 as there; sums are exact here.
 *
 * @module
 */

import { CAMERA_NAMES, type Observation, type RgbImage } from "../types.ts";

const CHANNELS = 3;

/** Where a picture lies within another one. */
interface Fit {
  readonly height: number;
  readonly width: number;
  readonly top: number;
  readonly left: number;
}

/** The largest size of the same proportions that fits, and where it lies; odd bars are wider below and right. */
function fit(from: { height: number; width: number }, height: number, width: number): Fit {
  const ratio = Math.max(from.width / width, from.height / height);
  const inner = {
    height: Math.trunc(from.height / ratio),
    width: Math.trunc(from.width / ratio),
  };
  return {
    ...inner,
    top: Math.floor((height - inner.height) / 2),
    left: Math.floor((width - inner.width) / 2),
  };
}

/** What one output row or column is the weighted mean of. */
interface Taps {
  /** First input index. */
  readonly first: number;
  /** Weights of the inputs from there on. */
  readonly weights: Float32Array;
}

const f32 = Math.fround;

/** Triangle filter from `from` samples to `to`. */
function linearTaps(from: number, to: number): Taps[] {
  const step = f32(1 / (to / from)); // input samples an output sample
  const reach = Math.max(step, 1);
  return Array.from({ length: to }, (_, out) => {
    const centre = f32(f32((out + 0.5) * step) - 0.5);
    const first = Math.max(0, Math.ceil(centre - reach));
    const last = Math.min(from - 1, Math.floor(centre + reach));
    const weights = Float32Array.from(
      { length: last - first + 1 },
      (_, i) => Math.max(0, 1 - f32(Math.abs(f32(centre - (first + i))) / reach)),
    );
    const total = weights.reduce((sum, w) => sum + w, 0);
    return { first, weights: weights.map((w) => w / total) };
  });
}

/**
 * Scale and pad samples of any range.
 * @param data `[from.height, from.width, 3]`.
 * @param padding What the bars are filled with.
 * @param finish Applied to every scaled sample.
 * @param out `[height, width, 3]`, receives the result.
 */
function resizeInto<T extends Uint8Array | Float32Array>(
  data: ArrayLike<number>,
  from: { readonly height: number; readonly width: number },
  size: { readonly height: number; readonly width: number },
  out: T,
  padding: number,
  finish: (x: number) => number,
): T {
  if (data.length !== from.height * from.width * CHANNELS) {
    throw new RangeError(
      `Cannot resize: a ${from.width}×${from.height} picture has ` +
        `${from.height * from.width * CHANNELS} values, this one has ${data.length}`,
    );
  }
  const inner = fit(from, size.height, size.width);
  if (inner.height < 1 || inner.width < 1) {
    throw new RangeError(
      `Cannot resize: ${from.width}×${from.height} in the proportions of ` +
        `${size.width}×${size.height} leaves no pixel; crop the picture first`,
    );
  }
  out.fill(padding);
  const rowTaps = linearTaps(from.height, inner.height);
  const columnTaps = linearTaps(from.width, inner.width);
  // Rows first: one blended input row at a time is all the memory that is needed.
  const stride = from.width * CHANNELS;
  const blended = new Float64Array(stride);
  for (let row = 0; row < inner.height; row++) {
    blended.fill(0);
    const { first, weights } = rowTaps[row];
    for (let k = 0; k < weights.length; k++) {
      const at = (first + k) * stride;
      for (let i = 0; i < stride; i++) blended[i] += weights[k] * data[at + i];
    }
    let to = ((inner.top + row) * size.width + inner.left) * CHANNELS;
    for (let column = 0; column < inner.width; column++) {
      const { first, weights } = columnTaps[column];
      for (let channel = 0; channel < CHANNELS; channel++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) {
          sum += weights[k] * blended[(first + k) * CHANNELS + channel];
        }
        out[to++] = finish(sum);
      }
    }
  }
  return out;
}

/** To the nearest whole number, halves to the even one, as numpy rounds. */
function roundHalfToEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/**
 * Fit an 8-bit picture into another size: scaled without distortion, centred, bars of 0.
 *
 * @param image The picture.
 * @param height Height wanted, in pixels.
 * @param width Width wanted, in pixels.
 * @returns A picture of that size; `image` itself if it has it.
 * @throws RangeError if the picture's data do not match its size, or no pixel of it would be left.
 */
export function resizeWithPad(image: RgbImage, height: number, width: number): RgbImage {
  if (image.height === height && image.width === width) return image;
  const out = new Uint8Array(height * width * CHANNELS);
  const size = { height, width };
  const data = resizeInto(
    image.data,
    image,
    size,
    out,
    0,
    (x) => Math.min(255, Math.max(0, roundHalfToEven(f32(x)))),
  );
  return { width, height, data };
}

/**
 * Fit a picture of float32 samples in [−1, 1] into another size, bars of −1.
 *
 * @param data `[from.height, from.width, 3]`.
 * @param from Its size in pixels.
 * @param size Size wanted, in pixels.
 * @returns `[size.height, size.width, 3]`, clipped to [−1, 1].
 * @throws RangeError as {@link resizeWithPad} does.
 */
export function resizeFloatsWithPad(
  data: Float32Array,
  from: { readonly height: number; readonly width: number },
  size: { readonly height: number; readonly width: number },
): Float32Array {
  const out = new Float32Array(size.height * size.width * CHANNELS);
  return resizeInto(data, from, size, out, -1, (x) => Math.min(1, Math.max(-1, x)));
}

/**
 * An observation whose pictures have the policy's size.
 *
 * @param observation What the cameras gave, of any size.
 * @param side Side of the policy's square pictures, in pixels.
 * @returns The observation itself if every picture fits already.
 */
export function fitImages(observation: Observation, side: number): Observation {
  const { images } = observation;
  if (CAMERA_NAMES.every((c) => images[c].width === side && images[c].height === side)) {
    return observation;
  }
  const fitted = CAMERA_NAMES.map((camera) => [camera, resizeWithPad(images[camera], side, side)]);
  return { ...observation, images: Object.fromEntries(fitted) };
}
