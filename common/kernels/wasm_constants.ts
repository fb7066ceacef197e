/**
 * Constant vectors of a loop in WebAssembly, held in locals.
 *
 * V8 puts a constant together anew each time that it is needed, in three instructions of which two wait
 * for the same part of the processor: a loop over exponentials did little else. From a local it is one
 * read.
 *
 * @module
 */

import { type Code, f32, get, set, splat } from "./wasm_assembler.ts";

/** Hands out a local for each constant that a loop asks for. */
export class VectorConstants {
  readonly #first: number;
  readonly #values: number[] = [];

  /**
   * No constant yet.
   * @param first The first local of vectors that is free; as many as {@link VectorConstants.count} are
   *   taken from there on.
   */
  constructor(first: number) {
    this.#first = first;
  }

  /** The vector of four times a number, rounded to float32. */
  readonly of = (value: number): Code => {
    const rounded = Math.fround(value);
    if (!this.#values.includes(rounded)) this.#values.push(rounded);
    return get(this.#first + this.#values.indexOf(rounded));
  };

  /** How many locals are taken. */
  get count(): number {
    return this.#values.length;
  }

  /** What to do before the loop, which must be made already. */
  get prologue(): Code {
    return this.#values.flatMap((value, i) => set(this.#first + i, splat(f32(value))));
  }
}
