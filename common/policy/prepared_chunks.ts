/**
 * Chunks made ready once for many passes: tokenised, and with what the grammar allowed.
 *
 * Letters: B chunks, S tokens of the longest, V FAST vocabulary.
 *
 * @module
 */

import { CAMERA_NAMES } from "../types.ts";
import type { NetworkInput } from "./network.ts";

/** Chunks prepared for `ActorCritic.evaluate()`. */
export interface PreparedChunks {
  /** Pictures and prompts. */
  readonly input: NetworkInput;
  /** FAST ids of each row. */
  readonly tokens: readonly Int32Array[];
  /** What the grammar allowed at each token, `[S_b, V]` a row. */
  readonly allowed: readonly Uint8Array[];
}

/** Some rows of prepared chunks, in the order given. */
export function selectRows(
  { input, tokens, allowed }: PreparedChunks,
  rows: readonly number[],
): PreparedChunks {
  const cameras = CAMERA_NAMES.length;
  return {
    input: {
      images: rows.flatMap((i) => input.images.slice(i * cameras, (i + 1) * cameras)),
      imageTokens: input.imageTokens && rows.map((i) => input.imageTokens![i]),
      ids: { prompts: rows.map((i) => input.ids.prompts[i]), forced: input.ids.forced },
    },
    tokens: rows.map((i) => tokens[i]),
    allowed: rows.map((i) => allowed[i]),
  };
}

/**
 * Chunks of several lengths in rows of one.
 * @param chunks.tokens `[S_b]` each.
 * @param chunks.allowed `[S_b, V]` each.
 * @param steps S, of the longest.
 * @param vocab V.
 * @returns What the grammar allowed, `[B · S, V]`, and the tokens, `[B · S]`. Where a row has no token
 *   any more there is −1, and everything is allowed.
 */
export function joinRows(
  { tokens, allowed }: Pick<PreparedChunks, "tokens" | "allowed">,
  steps: number,
  vocab: number,
): { readonly allowed: Uint8Array; readonly tokens: Int32Array } {
  const joined = {
    allowed: new Uint8Array(tokens.length * steps * vocab).fill(1),
    tokens: new Int32Array(tokens.length * steps).fill(-1),
  };
  tokens.forEach((row, b) => {
    joined.allowed.set(allowed[b], b * steps * vocab);
    joined.tokens.set(row, b * steps);
  });
  return joined;
}
