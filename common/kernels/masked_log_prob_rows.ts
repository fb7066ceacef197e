/**
 * Masked log-probabilities over values that the host sees, a row at a time; how the exponentials of a
 * row come about is left to the backend.
 *
 * Letters: M rows, V tokens.
 *
 * @module
 */

/** Values of the kernels' inputs, row-major. */
export interface LogProbValues {
  /** `[M, V]`. */
  readonly logits: ArrayLike<number>;
  /** `[M, V]`, 1 where a token is allowed and 0 elsewhere. */
  readonly allowed: ArrayLike<number>;
  /** `[M]`, −1 for rows that count for nothing. */
  readonly tokens: ArrayLike<number>;
}

/**
 * Softmax of a row in place: scores become what each weighs, all together 1. Scores of −3e38 are of
 * tokens that are not allowed.
 */
export type RowSoftmax = (row: Float32Array | Float64Array) => void;

/** A row's distribution. */
interface Row {
  /** Its place among all rows. */
  readonly row: number;
  /** Its token. */
  readonly token: number;
  /** Greatest score plus the logarithm of the sum of exponentials. */
  readonly logSum: number;
  /** In nats. */
  readonly entropy: number;
}

const NOT_ALLOWED = -3e38;

/** Every row that counts; its weights are in `weights` until the next. */
function* rowsOf(
  { logits, allowed, tokens }: LogProbValues,
  inverse: number,
  weights: Float32Array | Float64Array,
  softmax: RowSoftmax,
): Generator<Row> {
  const vocab = weights.length;
  for (let row = 0; row < tokens.length; row++) {
    const token = tokens[row];
    if (token < 0) continue;
    const at = row * vocab;
    let best = 0;
    for (let i = 0; i < vocab; i++) {
      // No branch: masks are as good as random, and a processor guesses half of them wrong.
      weights[i] = logits[at + i] * inverse + (1 - allowed[at + i]) * NOT_ALLOWED;
      if (weights[i] > weights[best]) best = i;
    }
    const top = weights[best];
    softmax(weights);
    // The best token's exponential is 1: its weight tells the sum.
    const logSum = top - Math.log(weights[best]);
    let entropy = 0;
    for (let i = 0; i < vocab; i++) {
      entropy += weights[i] * (logSum - logits[at + i] * inverse);
    }
    yield { row, token, logSum, entropy };
  }
}

/**
 * Log-probabilities and entropies, 0 for rows that count for nothing.
 * @param inverse 1 over the temperature.
 * @param weights Room for one row, `[V]`.
 * @param out `[M, 2]`.
 */
export function logProbRows(
  values: LogProbValues,
  inverse: number,
  weights: Float32Array | Float64Array,
  softmax: RowSoftmax,
  out: Float32Array,
): void {
  out.fill(0);
  for (const { row, token, logSum, entropy } of rowsOf(values, inverse, weights, softmax)) {
    const at = row * weights.length + token;
    out[2 * row] = values.allowed[at] ? values.logits[at] * inverse - logSum : -Infinity;
    out[2 * row + 1] = entropy;
  }
}

/**
 * Gradients of the logits.
 * @param inverse 1 over the temperature.
 * @param dy Gradient of log-probabilities and entropies, `[M, 2]`.
 * @param weights Room for one row, `[V]`.
 * @param out `[M, V]`.
 */
export function logProbGradientRows(
  values: LogProbValues,
  inverse: number,
  dy: ArrayLike<number>,
  weights: Float32Array | Float64Array,
  softmax: RowSoftmax,
  out: Float32Array,
): void {
  const vocab = weights.length;
  out.fill(0);
  for (const { row, token, logSum, entropy } of rowsOf(values, inverse, weights, softmax)) {
    const [ofLogProb, ofEntropy] = [dy[2 * row] * inverse, dy[2 * row + 1] * inverse];
    const at = row * vocab;
    for (let i = 0; i < vocab; i++) {
      // d log p / d z = 1 for its own token, −p; d H / d z = −p (log p + H).
      const logProb = values.logits[at + i] * inverse - logSum;
      out[at + i] = -weights[i] * (ofLogProb + ofEntropy * (logProb + entropy));
    }
    out[at + token] += ofLogProb;
  }
}
