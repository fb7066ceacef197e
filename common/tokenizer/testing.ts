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

/** One kind of chunks of `parity.json`, fitted, encoded and decoded by FAST's own processor. */
export interface ParityCase {
  /** How the chunks were made; see {@link parityChunks}. */
  readonly kind: "smooth" | "wild" | "positive" | "lattice" | "levels" | "recorded";
  /** Of {@link parityChunks}. */
  readonly seed: number;
  /** H. */
  readonly horizon: number;
  /** A. */
  readonly actionDim: number;
  /** Factor between coefficients and integers. */
  readonly scale: number;
  /** Size that training aimed at. */
  readonly vocabSize: number;
  /** Chunks that the tokenizer was fitted on. */
  readonly fitted: number;
  /** Chunks that it encoded. */
  readonly encoded: number;
  /** What the latter were multiplied by. */
  readonly factor: number;
  /** Least integer of the fitted chunks. */
  readonly minToken: number;
  /** Tokens learnt. */
  readonly tokens: number;
  /** SHA-256 of `tokenizer.json`. */
  readonly tokenizerSha256: string;
  /** Base64 of 16-bit numbers, little-endian: of each chunk the number of ids, then the ids. */
  readonly ids: string;
  /** Weighted sum of each decoded chunk; null where the processor cannot decode what it encoded. */
  readonly decoded: readonly (number | null)[];
}

/** Uniform numbers in [0, 1), 32 bits each: Mulberry32, as `fast_goldens.py` draws them. */
function parityDraw(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

function parityChunk(kind: ParityCase["kind"], draw: () => number, horizon: number, dim: number) {
  const chunk = new Float32Array(horizon * dim);
  for (let a = 0; a < dim; a++) {
    let value = 1.6 * draw() - 0.8;
    const slope = draw() < 0.5 ? 0 : 0.1 * (draw() - 0.5);
    for (let t = 0; t < horizon; t++) {
      value += slope;
      const i = t * dim + a;
      if (kind === "smooth") chunk[i] = value + 0.02 * (draw() - 0.5);
      else if (kind === "wild") chunk[i] = 2 * draw() - 1;
      else if (kind === "positive") chunk[i] = 0.5 + 0.5 * draw();
      else if (kind === "lattice") chunk[i] = Math.floor(129 * draw()) / 64 - 1;
      else chunk[i] = Math.floor(3 * draw()) - 1;
    }
  }
  return chunk;
}

/**
 * The chunks of a case, drawn as `fast_goldens.py` draws them, to the last bit.
 *
 * @param golden The case.
 * @returns Chunks to fit, and chunks to encode in double precision, each `[H, A]`.
 */
export function parityChunks(
  golden: ParityCase,
): { readonly fitted: Float32Array[]; readonly encoded: Float64Array[] } {
  const { kind, horizon, actionDim, factor } = golden;
  const times = (chunk: Float32Array) => Float64Array.from(chunk, (x) => x * factor);
  if (kind === "recorded") {
    const chunks = recordedChunks();
    return {
      fitted: chunks.slice(0, golden.fitted),
      encoded: chunks.slice(0, golden.encoded).map(times),
    };
  }
  const draw = parityDraw(golden.seed);
  const make = () => parityChunk(kind, draw, horizon, actionDim);
  const fitted = Array.from({ length: golden.fitted }, make);
  return { fitted, encoded: Array.from({ length: golden.encoded }, () => times(make())) };
}

/**
 * Normalised chunks of the simulated robot's demonstrations, which `fast_recorded.ts` wrote.
 *
 * @returns Chunks `[16, 14]`.
 */
export function recordedChunks(): Float32Array[] {
  return readFixture<{ float32: string[] }>("recorded.json").float32
    .map((text) => new Float32Array(Uint8Array.fromBase64(text).buffer));
}

/**
 * The ids of a case's chunks.
 *
 * @param golden The case.
 * @returns Ids `[S]` of each encoded chunk.
 */
export function parityIds(golden: ParityCase): Uint16Array[] {
  const flat = new Uint16Array(Uint8Array.fromBase64(golden.ids).buffer);
  const rows: Uint16Array[] = [];
  for (let at = 0; at < flat.length; at += 1 + flat[at]) {
    rows.push(flat.subarray(at + 1, at + 1 + flat[at]));
  }
  return rows;
}
