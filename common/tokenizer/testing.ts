/**
 * What this folder's tests share: the fixtures that `scripts/goldens/fast_goldens.py` wrote with
 * the reference libraries, and tokenizers fitted on made-up motions.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { FastTokenizer } from "./fast.ts";

const fixtures = new URL("../../tests/fixtures/tokenizer/", import.meta.url);

/** Cases that the reference fitted on the project's alphabet, or on one that equals it. */
export const FITTED_CASES = ["dense", "arm", "two_byte", "wide"] as const;

/** One case's `golden.json`. */
export interface Golden {
  /** H. */
  readonly horizon: number;
  /** A. */
  readonly actionDim: number;
  /** Factor between coefficients and integers. */
  readonly scale: number;
  /** Size that training aimed at. */
  readonly vocabSize: number;
  /** `complete` where the byte characters were added to the reference's alphabet. */
  readonly alphabet: "fast" | "complete";
  /** Least integer of the training chunks. */
  readonly minToken: number;
  /** Greatest integer of the training chunks. */
  readonly maxToken: number;
  /** Stored chunks are actions times this. */
  readonly unit: number;
  /** Training chunks, `[H, A]` each. */
  readonly chunks: readonly (readonly number[])[];
  /** Chunks that were not trained on. */
  readonly heldOut: readonly (readonly number[])[];
  /** FAST ids of the held-out chunks. */
  readonly encoded: readonly (readonly number[])[];
  /** The first held-out chunk after a round trip. */
  readonly decodedFirst: readonly number[];
  /** Character codes of a text, and its ids. */
  readonly texts: readonly (readonly [readonly number[], readonly number[]])[];
  /** Character codes that each token decodes to by itself. */
  readonly tokenTexts: readonly (readonly number[])[];
}

/**
 * Path of a fixture.
 *
 * @param name Path under `tests/fixtures/tokenizer`.
 * @returns The absolute path.
 */
export function fixturePath(name: string): string {
  return fileURLToPath(new URL(name, fixtures));
}

/**
 * Read a JSON fixture.
 *
 * @param name Path under `tests/fixtures/tokenizer`.
 * @returns Its content, of the type that the caller knows it to have.
 */
export function readFixture<T>(name: string): T {
  return JSON.parse(Deno.readTextFileSync(fixturePath(name)));
}

/**
 * A seeded source of numbers in [0, 1).
 *
 * @param seed Any integer.
 * @returns The source.
 */
export function randomSource(seed: number): () => number {
  const generator = xoroshiro128plus(seed);
  return () => (generator.next() >>> 0) / 2 ** 32;
}

/**
 * Chunks of smooth motions with a little noise, nominally in [−1, 1].
 *
 * @param seed Any integer.
 * @param count Number of chunks.
 * @param horizon H.
 * @param actionDim A.
 * @returns Chunks `[H, A]`.
 */
export function makeChunks(
  seed: number,
  count: number,
  horizon: number,
  actionDim: number,
): Float32Array[] {
  const random = randomSource(seed);
  return Array.from({ length: count }, () => {
    const chunk = new Float32Array(horizon * actionDim);
    for (let a = 0; a < actionDim; a++) {
      let value = 1.6 * random() - 0.8;
      const slope = random() < 0.5 ? 0 : 0.1 * (random() - 0.5);
      for (let t = 0; t < horizon; t++) {
        value += slope;
        chunk[t * actionDim + a] = value + 0.02 * (random() - 0.5);
      }
    }
    return chunk;
  });
}

/**
 * A tokenizer fitted on {@link makeChunks}.
 *
 * @param horizon H.
 * @param actionDim A.
 * @param scale The larger, the more characters take two bytes.
 * @param vocabSize Most tokens.
 * @returns The tokenizer.
 */
export function fitTokenizer(
  horizon: number,
  actionDim: number,
  scale = 10,
  vocabSize = 1024,
): FastTokenizer {
  const chunks = makeChunks(7, 60, horizon, actionDim);
  return FastTokenizer.fit(chunks, {
    scale,
    vocabSize,
    horizon,
    actionDim,
    alphabet: "complete",
  });
}
