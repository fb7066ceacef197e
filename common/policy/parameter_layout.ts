/**
 * How one stacked array of a checkpoint falls apart into the matrices that computing wants, and back.
 *
 * @module
 */

/** How a fresh parameter is drawn. */
export type Initializer =
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" }
  | { readonly kind: "normal"; readonly stddev: number };

/** One array of a checkpoint. */
export interface ParameterSpec {
  /** Path with openpi's names. */
  readonly path: string;
  /** Shape in the checkpoint. */
  readonly shape: readonly number[];
  /** How many leading axes are split, each index becoming a tensor of its own. */
  readonly stackedAxes: number;
  /** Order of the remaining axes in memory; identity when absent. */
  readonly permutation?: readonly number[];
  /** Shape in memory after the permutation. */
  readonly computeShape: readonly number[];
  /** How it is drawn when there is no checkpoint. */
  readonly initializer: Initializer;
}

/** Numbers in an array of a shape. */
export function count(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Copy `source` of `shape` into a new array with its axes in the order `permutation`. */
export function permute(
  source: Float32Array,
  shape: readonly number[],
  permutation: readonly number[],
): Float32Array {
  const out = new Float32Array(source.length);
  const strides = shape.map((_, axis) => count(shape.slice(axis + 1)));
  const outShape = permutation.map((axis) => shape[axis]);
  const outStrides = permutation.map((axis) => strides[axis]);
  const index = new Array(shape.length).fill(0);
  let offset = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = source[offset];
    for (let axis = outShape.length - 1; axis >= 0; axis--) {
      offset += outStrides[axis];
      if (++index[axis] < outShape[axis]) break;
      offset -= outStrides[axis] * outShape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

/** The permutation that undoes `permutation`. */
function inverse(permutation: readonly number[]): number[] {
  const out = new Array<number>(permutation.length);
  permutation.forEach((axis, i) => (out[axis] = i));
  return out;
}

/**
 * The layers of a stacked array, each in compute layout.
 * @param spec The array.
 * @param data Its values in the layout of a checkpoint.
 */
export function splitLayers(spec: ParameterSpec, data: Float32Array): Float32Array[] {
  const layers = count(spec.shape.slice(0, spec.stackedAxes));
  const inner = spec.shape.slice(spec.stackedAxes);
  const size = data.length / layers;
  return Array.from({ length: layers }, (_, i) => {
    const layer = data.slice(i * size, (i + 1) * size);
    return spec.permutation ? permute(layer, inner, spec.permutation) : layer;
  });
}

/**
 * One layer in the order of axes that checkpoints have.
 * @param spec The array that it is a layer of.
 * @param layer Its values in compute layout, `spec.computeShape`.
 */
export function toCheckpointLayout(spec: ParameterSpec, layer: Float32Array): Float32Array {
  if (!spec.permutation) return layer;
  const inner = spec.shape.slice(spec.stackedAxes);
  const permuted = spec.permutation.map((axis) => inner[axis]);
  return permute(layer, permuted, inverse(spec.permutation));
}
