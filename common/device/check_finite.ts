/**
 * The guard between a policy and whatever acts on its numbers.
 * @module
 */

/** Computed numbers are not finite: a kernel or the weights are broken. Nothing may act on them. */
export class NonFiniteError extends Error {
  /** Tells it from other errors in logs. */
  override readonly name = "NonFiniteError";
}

/**
 * Let finite numbers pass.
 *
 * @param values One number or several.
 * @param what Their name in the error, such as "an action".
 * @throws {NonFiniteError} One is NaN or infinite; the sentence has the first such.
 */
export function checkFinite(values: number | ArrayLike<number>, what: string): void {
  if (typeof values === "number") {
    if (!Number.isFinite(values)) throw new NonFiniteError(sentence(values, what));
    return;
  }
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    throw new NonFiniteError(sentence(values[i], `${what} (number ${i} of ${values.length})`));
  }
}

function sentence(value: number, what: string): string {
  return `The policy computed ${value} for ${what}, which nothing may act on: its weights are ` +
    "broken, or the device that computes it is";
}
