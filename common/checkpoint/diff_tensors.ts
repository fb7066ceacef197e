/**
 * Compares the tensors that a model wants with those that a file holds.
 *
 * @module
 */

/** Name and dimensions of a tensor. */
export interface TensorShape {
  /** Parameter path. */
  readonly name: string;
  /** Dimensions. */
  readonly shape: readonly number[];
}

/**
 * Every difference between two sets of tensors; order does not matter.
 *
 * @param expected What the model wants.
 * @param found What there is.
 * @returns One sentence a difference, missing ones first; empty when the sets agree.
 * @example
 * ```ts
 * diffTensors([{ name: "w", shape: [2, 3] }], [{ name: "w", shape: [3, 2] }]);
 * // ["Tensor w has shape [3, 2], expected [2, 3]."]
 * ```
 */
export function diffTensors(
  expected: readonly TensorShape[],
  found: readonly TensorShape[],
): string[] {
  const show = (shape: readonly number[]) => `[${shape.join(", ")}]`;
  const foundShapes = new Map(found.map(({ name, shape }) => [name, show(shape)]));
  const expectedNames = new Set(expected.map(({ name }) => name));
  const missing = expected
    .filter(({ name }) => !foundShapes.has(name))
    .map(({ name, shape }) => `Tensor ${name} is missing, expected shape ${show(shape)}.`);
  const reshaped = expected
    .filter(({ name, shape }) => foundShapes.has(name) && foundShapes.get(name) !== show(shape))
    .map(({ name, shape }) =>
      `Tensor ${name} has shape ${foundShapes.get(name)}, expected ${show(shape)}.`
    );
  const unexpected = found
    .filter(({ name }) => !expectedNames.has(name))
    .map(({ name, shape }) => `Tensor ${name} of shape ${show(shape)} is not expected.`);
  return [...missing, ...reshaped, ...unexpected];
}
