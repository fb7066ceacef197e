/**
 * Mean and variance of vectors seen so far, number by number (Chan, Golub and LeVeque, 1979: moments of
 * a batch are merged into those of all before it).
 *
 * @module
 */

/** All that {@link RunningMoments} knows; plain float64 numbers, which JSON keeps to the last bit. */
export interface MomentState {
  /** Vectors seen. */
  readonly count: number;
  /** Mean of each number `[F]`. */
  readonly mean: readonly number[];
  /** Sum of squared distances from the mean `[F]`. */
  readonly squares: readonly number[];
}

/** Running mean and variance of vectors of one length. */
export class RunningMoments {
  #count: number;
  readonly #mean: Float64Array;
  readonly #squares: Float64Array;

  /**
   * Nothing seen yet, or all that an earlier run has.
   * @param size F, numbers of a vector.
   * @param state What {@link RunningMoments.state} gave.
   * @throws RangeError if the state is of vectors of another length, or cannot be.
   */
  constructor(size: number, state?: MomentState) {
    if (state && (state.mean.length !== size || state.squares.length !== size)) {
      throw new RangeError(
        `Cannot continue moments: the state is of ${state.mean.length} numbers, expected ${size}`,
      );
    }
    if (state && ![state.count, ...state.mean, ...state.squares].every(Number.isFinite)) {
      throw new RangeError("Cannot continue moments: the state has numbers that are not finite");
    }
    this.#count = state?.count ?? 0;
    this.#mean = Float64Array.from(state?.mean ?? new Array<number>(size).fill(0));
    this.#squares = Float64Array.from(state?.squares ?? new Array<number>(size).fill(0));
  }

  /** All there is to write to a checkpoint. */
  get state(): MomentState {
    return { count: this.#count, mean: [...this.#mean], squares: [...this.#squares] };
  }

  /** Mean of each number `[F]`; 0 before the first. */
  get mean(): Float64Array {
    return this.#mean.slice();
  }

  /** Standard deviation of each number `[F]`, over all seen; 1 before the second. */
  get deviation(): Float64Array {
    return this.#squares.map((s) => (this.#count < 2 ? 1 : Math.sqrt(s / this.#count)));
  }

  /**
   * See vectors.
   * @param vectors `[F]` each.
   * @throws RangeError if one has another length or a number that is not finite; nothing has changed.
   */
  update(vectors: readonly ArrayLike<number>[]): void {
    for (const vector of vectors) this.#check(vector);
    if (vectors.length === 0) return;
    const count = this.#count + vectors.length;
    for (let f = 0; f < this.#mean.length; f++) {
      let sum = 0;
      for (const vector of vectors) sum += vector[f];
      const mean = sum / vectors.length;
      let squares = 0;
      for (const vector of vectors) squares += (vector[f] - mean) ** 2;
      const distance = mean - this.#mean[f];
      this.#mean[f] += distance * vectors.length / count;
      this.#squares[f] += squares + distance ** 2 * this.#count * vectors.length / count;
    }
    this.#count = count;
  }

  #check(vector: ArrayLike<number>): void {
    const size = this.#mean.length;
    if (vector.length !== size) {
      throw new RangeError(
        `Cannot take in a vector of ${vector.length} numbers, expected ${size}`,
      );
    }
    for (let f = 0; f < size; f++) {
      if (!Number.isFinite(vector[f])) {
        throw new RangeError(`Cannot take in a vector: number ${f} of ${size} is ${vector[f]}`);
      }
    }
  }
}
