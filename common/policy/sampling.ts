/**
 * Draws tokens from the masked softmax on the host.
 * @module
 */

/** One drawn token. */
export interface Draw {
  /** Its id. */
  readonly token: number;
  /** Its log-probability, in nats. */
  readonly logProb: number;
  /** Entropy of the distribution it came from, in nats. */
  readonly entropy: number;
}

/**
 * Draw one token of one row.
 *
 * @param logits `[B, V]`.
 * @param row Which row.
 * @param allowed `[V]`, 1 where the grammar allows a token; at least one must be.
 * @param temperature Above 0: sample from softmax(logits / temperature). 0: take the best, whose
 *   log-probability and entropy are then reported at temperature 1.
 * @param random Gives independent uniform numbers in [0, 1).
 */
export function drawToken(
  logits: Float32Array,
  row: number,
  allowed: Uint8Array,
  temperature: number,
  random: () => number,
): Draw {
  const vocab = allowed.length;
  const at = row * vocab;
  const inverse = temperature > 0 ? 1 / temperature : 1;
  let best = -1;
  for (let i = 0; i < vocab; i++) {
    if (allowed[i] && (best < 0 || logits[at + i] > logits[at + best])) best = i;
  }
  if (best < 0) throw new RangeError("Cannot draw a token: the grammar allows none");
  const top = logits[at + best] * inverse;
  let sum = 0;
  let weighted = 0;
  for (let i = 0; i < vocab; i++) {
    if (!allowed[i]) continue;
    const z = logits[at + i] * inverse - top;
    const p = Math.exp(z);
    sum += p;
    weighted += p * z;
  }
  const logSum = Math.log(sum);
  const entropy = logSum - weighted / sum;

  let token = best;
  if (temperature > 0) {
    let left = random() * sum;
    for (let i = 0; i < vocab; i++) {
      if (!allowed[i]) continue;
      const p = Math.exp(logits[at + i] * inverse - top);
      // What has underflowed to 0 cannot be drawn, not even when `random` gives 0.
      if (p === 0) continue;
      token = i;
      left -= p;
      if (left < 0) break;
    }
  }
  return { token, logProb: logits[at + token] * inverse - top - logSum, entropy };
}
