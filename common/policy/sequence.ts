/**
 * Lays a batch out as the model reads it: image tokens, prompt (padded on the left, so that all rows
 * end together), the forced words `Action: `, then FAST tokens.
 *
 * openpi right-aligns the whole prefix (`pi0_fast.py`, `left_to_right_align`). Attention sees
 * positions and masks, not places, so padding inside the prefix gives the same numbers.
 *
 * @module
 */

import { MASKED_LOGIT, type PolicyVariant } from "./variants.ts";

/** Token ids of a batch, before any FAST token. */
export interface PrefixIds {
  /** Prompt ids of each row, with BOS, without padding. */
  readonly prompts: readonly Int32Array[];
  /** Ids of `Action: `, the same for every row. */
  readonly forced: Int32Array;
  /**
   * `[B]` rows of one boolean a camera, openpi's image_mask: no token sees a camera whose boolean is
   * false. Absent: all are seen, which is how openpi trains FAST models (black pictures stand for
   * cameras that are missing).
   */
  readonly cameraMasks?: readonly (readonly boolean[])[];
}

/**
 * How places become rotary positions: `natural` and `openpi` as a {@link PolicyVariant} decodes,
 * `training` as openpi's compute_loss counts, where a hidden camera's tokens take up positions too.
 */
export type PositionConvention = PolicyVariant["decodePositions"] | "training";

/** Where everything lies in the sequence of a batch. */
export interface SequenceLayout {
  /** B. */
  readonly batch: number;
  /** I: image tokens, all cameras. */
  readonly imageTokens: number;
  /** P: prompt tokens of the longest row. */
  readonly promptTokens: number;
  /** G: tokens of `Action: `. */
  readonly forcedTokens: number;
  /** FAST tokens that are fed (not those that are only predicted). */
  readonly fedTokens: number;
  /** All of them. */
  readonly length: number;
  /** Prefix tokens of each row without padding: I plus its prompt's length. */
  readonly prefixLengths: Int32Array;
  /** {@link PrefixIds.cameraMasks}. */
  readonly cameraMasks?: readonly (readonly boolean[])[];
}

/** Lay out a batch. */
export function layOut(
  imageTokens: number,
  { prompts, forced, cameraMasks }: PrefixIds,
  fedTokens: number,
): SequenceLayout {
  if (cameraMasks && cameraMasks.length !== prompts.length) {
    throw new RangeError(
      `Cannot lay out the batch: it has ${prompts.length} prompts and ${cameraMasks.length} rows ` +
        "of camera masks; give one row a prompt",
    );
  }
  const promptTokens = Math.max(...prompts.map((p) => p.length));
  return {
    batch: prompts.length,
    imageTokens,
    promptTokens,
    forcedTokens: forced.length,
    fedTokens,
    length: imageTokens + promptTokens + forced.length + fedTokens,
    prefixLengths: Int32Array.from(prompts, (p) => imageTokens + p.length),
    ...(cameraMasks && { cameraMasks }),
  };
}

/** Ranges of image places `[from, to)` of a row that nobody sees. */
function hiddenImages({ imageTokens, cameraMasks }: SequenceLayout, row: number) {
  const mask = cameraMasks?.[row] ?? [];
  const perCamera = imageTokens / mask.length;
  return mask.flatMap((isSeen, camera) =>
    isSeen ? [] : [{ from: camera * perCamera, to: (camera + 1) * perCamera }]
  );
}

/**
 * Language ids of everything behind the images: `[B, P + G + fed]`, padding 0.
 * @param fed Language ids of the fed FAST tokens of each row; shorter rows are padded on the right.
 */
export function textIds(
  layout: SequenceLayout,
  { prompts, forced }: PrefixIds,
  fed: readonly ArrayLike<number>[],
): Int32Array {
  const width = layout.length - layout.imageTokens;
  const out = new Int32Array(layout.batch * width);
  for (let row = 0; row < layout.batch; row++) {
    const end = row * width + layout.promptTokens;
    out.set(prompts[row], end - prompts[row].length);
    out.set(forced, end);
    if (layout.fedTokens > 0) out.set(Array.from(fed[row]), end + forced.length);
  }
  return out;
}

/**
 * Rotary positions `[B, length]`: what is seen of the prefix counts from 0; what follows continues,
 * one further in openpi's convention for decoding. Places that nobody sees get a position that
 * somebody else has.
 */
export function positionIds(layout: SequenceLayout, convention: PositionConvention): Float32Array {
  const { batch, length, imageTokens, promptTokens, prefixLengths } = layout;
  const prefix = imageTokens + promptTokens;
  const shift = convention === "openpi" ? 1 : 0;
  const out = new Float32Array(batch * length);
  for (let row = 0; row < batch; row++) {
    const isCounted = new Uint8Array(length).fill(1);
    isCounted.fill(0, imageTokens, imageTokens + prefix - prefixLengths[row]);
    if (convention !== "training") {
      for (const { from, to } of hiddenImages(layout, row)) isCounted.fill(0, from, to);
    }
    let position = 0;
    for (let i = 0; i < length; i++) {
      out[row * length + i] = position + (i >= prefix ? shift : 0);
      position += isCounted[i];
    }
  }
  return out;
}

/**
 * Additive prefix-LM mask: the prefix sees the prefix, what follows sees the prefix and itself up to
 * the query; padding is seen by nobody.
 * @returns `[B or 1, length, 1, length]` and its first dimension, 1 when all rows agree.
 */
export function prefixLmMask(layout: SequenceLayout): { data: Float32Array; rows: number } {
  const { batch, length, imageTokens, promptTokens, prefixLengths } = layout;
  const prefix = imageTokens + promptTokens;
  const rows = !layout.cameraMasks && prefixLengths.every((n) => n === prefix) ? 1 : batch;
  const data = new Float32Array(rows * length * length);
  for (let row = 0; row < rows; row++) {
    const padding = prefix - prefixLengths[row];
    const hidden = hiddenImages(layout, row);
    for (let query = 0; query < length; query++) {
      const at = (row * length + query) * length;
      const lastSeen = query < prefix ? prefix - 1 : query;
      data.fill(MASKED_LOGIT, at + lastSeen + 1, at + length);
      data.fill(MASKED_LOGIT, at + imageTokens, at + imageTokens + padding);
      for (const { from, to } of hidden) data.fill(MASKED_LOGIT, at + from, at + to);
    }
  }
  return { data, rows };
}

/**
 * Additive mask of one decoded token over a cache.
 * @param used Positions in use, the token's own included.
 * @returns `[B, capacity]`.
 */
export function decodeMask(layout: SequenceLayout, used: number, capacity: number): Float32Array {
  const { batch, imageTokens, promptTokens, prefixLengths } = layout;
  const data = new Float32Array(batch * capacity);
  for (let row = 0; row < batch; row++) {
    const padding = imageTokens + promptTokens - prefixLengths[row];
    data.fill(MASKED_LOGIT, row * capacity + used, (row + 1) * capacity);
    data.fill(MASKED_LOGIT, row * capacity + imageTokens, row * capacity + imageTokens + padding);
    for (const { from, to } of hiddenImages(layout, row)) {
      data.fill(MASKED_LOGIT, row * capacity + from, row * capacity + to);
    }
  }
  return data;
}
