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

/** Size of a picture, in pixels. */
interface Size {
  readonly height: number;
  readonly width: number;
}

/** Where a picture lies within another one. */
interface Fit {
  readonly height: number;
  readonly width: number;
  readonly top: number;
  readonly left: number;
}

/** The largest size of the same proportions that fits, and where it lies; odd bars are wider below and right. */
function fit(from: Size, height: number, width: number): Fit {
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

/** Which input samples every output row, or column, is the weighted mean of. */
interface Taps {
  /** First input index of each output. */
  readonly first: Int32Array;
  /** Where the weights of each output begin in `weights`; one more says where the last ones end. */
  readonly starts: Int32Array;
  /** Weights of the inputs from the first one on, float32 numbers. */
  readonly weights: Float64Array;
}

const f32 = Math.fround;

/** Triangle filter from `from` samples to `to`. */
function linearTaps(from: number, to: number): Taps {
  const step = f32(1 / (to / from)); // input samples an output sample
  const reach = Math.max(step, 1);
  const firsts = new Int32Array(to), starts = new Int32Array(to + 1);
  const all: number[] = [];
  for (let out = 0; out < to; out++) {
    const centre = f32(f32((out + 0.5) * step) - 0.5);
    const first = Math.max(0, Math.ceil(centre - reach));
    const last = Math.min(from - 1, Math.floor(centre + reach));
    const weights = Float32Array.from(
      { length: last - first + 1 },
      (_, i) => Math.max(0, 1 - f32(Math.abs(f32(centre - (first + i))) / reach)),
    );
    const total = weights.reduce((sum, w) => sum + w, 0);
    firsts[out] = first;
    all.push(...weights.map((w) => w / total));
    starts[out + 1] = all.length;
  }
  return { first: firsts, starts, weights: Float64Array.from(all) };
}

/** All that depends on the two sizes alone, and memory for one row. */
interface Plan {
  /** Where the scaled picture lies. */
  readonly inner: Fit;
  readonly rows: Taps;
  readonly columns: Taps;
  /** One input row, blended of several `[from.width · 3]`. */
  readonly blended: Float64Array;
  /** One scaled row `[inner.width · 3]`. */
  readonly line: Float32Array;
}

/** A robot has a few cameras of one or two sizes; more pairs than this are rather a test. */
const MAX_PLANS = 16;
const plans = new Map<string, Plan>();

function planFor(from: Size, size: Size): Plan {
  const key = `${from.width} ${from.height} ${size.width} ${size.height}`;
  const known = plans.get(key);
  if (known) return known;
  const inner = fit(from, size.height, size.width);
  if (inner.height < 1 || inner.width < 1) {
    throw new RangeError(
      `Cannot resize: ${from.width}×${from.height} in the proportions of ` +
        `${size.width}×${size.height} leaves no pixel; crop the picture first`,
    );
  }
  const plan: Plan = {
    inner,
    rows: linearTaps(from.height, inner.height),
    columns: linearTaps(from.width, inner.width),
    blended: new Float64Array(from.width * CHANNELS),
    line: new Float32Array(inner.width * CHANNELS),
  };
  // The oldest goes first: sizes hardly ever change.
  if (plans.size >= MAX_PLANS) plans.delete(plans.keys().next().value as string);
  plans.set(key, plan);
  return plan;
}

/**
 * Scale samples of any range.
 * @param data `[from.height, from.width, 3]`.
 * @param take Given every scaled row `[inner.width, 3]`, which it must copy, and where it begins in
 *   `[size.height, size.width, 3]`.
 */
function scaleRows(
  data: Uint8Array | Float32Array,
  from: Size,
  size: Size,
  take: (line: Float32Array, at: number) => void,
): void {
  if (data.length !== from.height * from.width * CHANNELS) {
    throw new RangeError(
      `Cannot resize: a ${from.width}×${from.height} picture has ` +
        `${from.height * from.width * CHANNELS} values, this one has ${data.length}`,
    );
  }
  const plan = planFor(from, size);
  const { inner, line } = plan;
  // Rows first: one blended input row at a time is all the memory that is needed.
  for (let row = 0; row < inner.height; row++) {
    blendRows(data, row, plan);
    scaleRow(plan);
    take(line, ((inner.top + row) * size.width + inner.left) * CHANNELS);
  }
}

/** The weighted mean of the input rows that an output row is made of. */
function blendRows(data: Uint8Array | Float32Array, row: number, { rows, blended }: Plan): void {
  const stride = blended.length;
  const { weights } = rows;
  const end = rows.starts[row + 1];
  let k = rows.starts[row];
  let at = rows.first[row] * stride;
  blended.fill(0);
  // Three rows at a time spare two thirds of the additions' way through memory; the order of the
  // additions, and so every bit, is that of one row after another.
  for (; k + 2 < end; k += 3, at += 3 * stride) {
    const w0 = weights[k], w1 = weights[k + 1], w2 = weights[k + 2];
    const row0 = data.subarray(at, at + stride);
    const row1 = data.subarray(at + stride, at + 2 * stride);
    const row2 = data.subarray(at + 2 * stride, at + 3 * stride);
    for (let i = 0; i < stride; i++) {
      blended[i] = blended[i] + w0 * row0[i] + w1 * row1[i] + w2 * row2[i];
    }
  }
  for (; k < end; k++, at += stride) {
    const w = weights[k];
    for (let i = 0; i < stride; i++) blended[i] += w * data[at + i];
  }
}

/** Scale the blended row to the output's width. */
function scaleRow({ columns: { first, starts, weights }, blended, line }: Plan): void {
  for (let column = 0, to = 0; column < first.length; column++, to += CHANNELS) {
    let red = 0, green = 0, blue = 0;
    const end = starts[column + 1];
    for (let k = starts[column], at = first[column] * CHANNELS; k < end; k++, at += CHANNELS) {
      const w = weights[k];
      red += w * blended[at];
      green += w * blended[at + 1];
      blue += w * blended[at + 2];
    }
    line[to] = red;
    line[to + 1] = green;
    line[to + 2] = blue;
  }
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
  const data = new Uint8Array(height * width * CHANNELS);
  // To the nearest whole number, halves to the even one, as numpy rounds; within 0–255.
  const rounded = new Uint8ClampedArray(data.buffer);
  scaleRows(image.data, image, { height, width }, (line, at) => rounded.set(line, at));
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
  const out = new Float32Array(size.height * size.width * CHANNELS).fill(-1);
  scaleRows(data, from, size, (line, at) => {
    for (let i = 0; i < line.length; i++) out[at + i] = Math.min(1, Math.max(-1, line[i]));
  });
  return out;
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
