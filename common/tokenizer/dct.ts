/**
 * The orthonormal cosine transform along time that FAST applies to an action chunk.
 *
 * A chunk has at most a few dozen steps, so a product with a precomputed `[H, H]` basis is both
 * simpler and faster than a fast transform. Sums run in double precision: the reference rounds
 * the scaled coefficients, and single precision would move values that lie close to a half.
 *
 * Frequencies 0 and H/2 have rational weights if H is a square (16 is), so their coefficients can be
 * halves exactly, where the last bit decides. These two rows are therefore summed with signs alone
 * and then multiplied by the constants that the reference's transform (pocketfft, in scipy) has, in
 * its order: equal to the last bit wherever the sums are exact.
 *
 * Letters: H horizon (control steps of a chunk), A action dimension.
 *
 * @module
 */

/** √½ as pocketfft's table of cosines has it at frequency H/2: one bit below the nearest double. */
const HALF_BAND_COSINE = 0.7071067811865475;

/** Bases already computed, by horizon. */
const bases = new Map<number, Float64Array>();

/**
 * The orthonormal DCT-II basis of one horizon. Computed once a horizon and shared: do not write
 * to it.
 *
 * @param horizon H, an integer of at least 1.
 * @returns `[H, H]` row-major; row k is the cosine of frequency k over time.
 * @throws {RangeError} If the horizon is not a positive integer.
 */
export function dctBasis(horizon: number): Float64Array {
  const cached = bases.get(horizon);
  if (cached !== undefined) return cached;
  if (!Number.isInteger(horizon) || horizon < 1) {
    throw new RangeError(`Cannot transform a chunk: horizon is ${horizon}, must be an integer ≥ 1`);
  }
  const basis = new Float64Array(horizon * horizon);
  for (let k = 0; k < horizon; k++) {
    const norm = Math.sqrt((k === 0 ? 1 : 2) / horizon);
    for (let t = 0; t < horizon; t++) {
      basis[k * horizon + t] = norm * Math.cos((Math.PI * (2 * t + 1) * k) / (2 * horizon));
    }
  }
  bases.set(horizon, basis);
  return basis;
}

/**
 * Orthonormal DCT-II along time.
 *
 * @param chunk Values over time, `[H, A]` row-major.
 * @param horizon H.
 * @param actionDim A.
 * @returns Coefficients `[H, A]`, lowest frequency first.
 * @throws {RangeError} If the chunk does not hold H·A values.
 */
export function dct(
  chunk: Float32Array | Float64Array,
  horizon: number,
  actionDim: number,
): Float64Array {
  checkShape(chunk.length, horizon, actionDim);
  const basis = dctBasis(horizon);
  const out = new Float64Array(horizon * actionDim);
  for (let k = 1; k < horizon; k++) {
    if (2 * k === horizon) continue;
    const to = k * actionDim;
    for (let t = 0; t < horizon; t++) {
      const weight = basis[k * horizon + t];
      const from = t * actionDim;
      for (let a = 0; a < actionDim; a++) out[to + a] += weight * chunk[from + a];
    }
  }
  const norm = 2 * Math.sqrt(1 / (2 * horizon));
  for (let a = 0; a < actionDim; a++) {
    let sum = 0; // of all
    let halfBand = 0; // with the signs + − − +, those of the cosine at frequency H/2
    for (let t = 0, i = a; t < horizon; t++, i += actionDim) {
      sum += chunk[i];
      halfBand += ((t + 1) & 2) === 0 ? chunk[i] : -chunk[i];
    }
    out[a] = sum * norm * Math.SQRT1_2;
    if (horizon % 2 === 0) {
      out[(horizon / 2) * actionDim + a] = halfBand * norm * HALF_BAND_COSINE;
    }
  }
  return out;
}

/**
 * Inverse of {@link dct}: orthonormal DCT-III along time.
 *
 * @param coefficients `[H, A]` row-major, lowest frequency first.
 * @param horizon H.
 * @param actionDim A.
 * @returns Values over time, `[H, A]`.
 * @throws {RangeError} If there are not H·A coefficients.
 */
export function inverseDct(
  coefficients: Float32Array | Float64Array,
  horizon: number,
  actionDim: number,
): Float64Array {
  checkShape(coefficients.length, horizon, actionDim);
  const basis = dctBasis(horizon);
  const out = new Float64Array(horizon * actionDim);
  for (let k = 0; k < horizon; k++) {
    const from = k * actionDim;
    // Most chunks are smooth: their highest frequencies round to 0 in every dimension.
    let isZero = true;
    for (let a = 0; a < actionDim && isZero; a++) isZero = coefficients[from + a] === 0;
    if (isZero) continue;
    for (let t = 0; t < horizon; t++) {
      const weight = basis[k * horizon + t];
      const to = t * actionDim;
      for (let a = 0; a < actionDim; a++) out[to + a] += weight * coefficients[from + a];
    }
  }
  return out;
}

function checkShape(length: number, horizon: number, actionDim: number): void {
  if (!Number.isInteger(actionDim) || actionDim < 1 || length !== horizon * actionDim) {
    throw new RangeError(
      `Cannot transform a chunk: it holds ${length} values, but horizon ${horizon} × ` +
        `action dimension ${actionDim} needs ${horizon * actionDim}`,
    );
  }
}
