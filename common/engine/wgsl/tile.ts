/**
 * The tile that products with many vectors have in common: who of 128 threads loads and computes what.
 * @module
 */

/** Tokens and rows of a workgroup. */
export const MATMUL_TILE = 64;

/** Tokens that a thread computes, for 4 rows each. */
export const TOKENS_PER_THREAD = 8;

const LETTERS = ["x", "y", "z", "w"] as const;

/** The first n numbers from 0. */
export function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/**
 * WGSL at the beginning of a kernel, of `group` and `lane`: `first_row` and `first_token` of the tile; for
 * loading, `row0…3` and `token0…3`, held inside the matrix and the batch, with `quad` (which four of the
 * tile) and `part` (0…7, of 32 columns); for computing, `across` (which four rows) and `down` (which eight
 * tokens).
 */
export function tilePlaces(): string {
  return `let first_row = group.x * ${MATMUL_TILE}u;
  let first_token = group.y * ${MATMUL_TILE}u;
  let quad = lane / 8u;
  let part = lane % 8u;
  ${
    range(4).map((i) =>
      `let row${i} = min(first_row + quad * 4u + ${i}u, shard.rows - 1u);
  let token${i} = min(first_token + quad * 4u + ${i}u, places.tokens - 1u);`
    ).join("\n  ")
  }
  let across = lane % 16u;
  let down = lane / 16u;`;
}

/**
 * WGSL that puts four vectors of four columns into workgroup memory, `[column][four lines]`.
 *
 * @param square Where to, `array<vec4, 512>`.
 * @param source Name of the vectors without their number, such as `w` for `w0…3`.
 * @param type Type of a number.
 */
export function intoSquare(square: string, source: string, type: "f32" | "f16"): string {
  return LETTERS.map((letter, e) => {
    const column = `vec4<${type}>(${range(4).map((i) => `${source}${i}.${letter}`).join(", ")})`;
    return `${square}[(part * 4u + ${e}u) * 16u + quad] = ${column};`;
  }).join("\n    ");
}

/**
 * The value of one of a thread's tokens.
 *
 * @param i Which, 0…7.
 * @returns A component of the vectors `low` and `high`.
 */
export function ofToken(i: number): string {
  return `${i < 4 ? "low" : "high"}.${LETTERS[i % 4]}`;
}
