/**
 * What an engine is shown before it decodes, and how that is laid out for its kernels.
 *
 * Letters: I image tokens, D width.
 *
 * @module
 */

import {
  decodeMask,
  layOut,
  positionIds,
  type PrefixIds,
  type SequenceLayout,
} from "../policy/sequence.ts";
import { capacityOf, type EngineModel } from "./engine_model.ts";
import { paddedColumns } from "./packed_rows.ts";
import { PLACES_HEADER_WORDS } from "./wgsl/shared.ts";

/** What an engine is shown before it decodes. */
export interface EnginePrefix {
  /** `[I, D]` image tokens of all cameras, on the host or on the engine's device. */
  readonly imageTokens: Float32Array | GPUBuffer;
  /** Prompt ids with BOS, without padding. */
  readonly prompt: Int32Array;
  /** Ids of `Action: `, at least one. */
  readonly forced: Int32Array;
  /** One boolean a camera, as in {@link PrefixIds.cameraMasks}; all are seen if absent. */
  readonly cameraMask?: readonly boolean[];
  /** Places kept for the prompt, which is padded on the left; its own length by default. */
  readonly promptPlaces?: number;
  /**
   * Which pictures the image tokens are of, a finite number: whoever gives the same one twice in a row
   * vouches that the tokens are the same, and the second prefill is left out where nothing else has
   * changed either. Absent: they are new.
   */
  readonly imagesVersion?: number;
}

/**
 * A key that two prefixes share exactly if their keys and values in the cache are the same.
 *
 * @param prefix Image tokens and prompt.
 * @returns The key; undefined without a finite {@link EnginePrefix.imagesVersion}.
 */
export function prefixKey(prefix: EnginePrefix): string | undefined {
  const { prompt, forced, cameraMask, promptPlaces = prompt.length, imagesVersion } = prefix;
  if (imagesVersion === undefined || !Number.isFinite(imagesVersion)) return undefined;
  return JSON.stringify([imagesVersion, [...prompt], [...forced], cameraMask, promptPlaces]);
}

/**
 * Lay out a prefix as `common/policy/sequence.ts` does.
 *
 * @param model Sizes.
 * @param prefix Image tokens and prompt.
 * @returns The layout, without fed tokens, and the ids that it is of.
 * @throws {RangeError} If the ids do not fit the model.
 */
export function layOutPrefix(
  model: EngineModel,
  prefix: EnginePrefix,
): { layout: SequenceLayout; ids: PrefixIds } {
  const { prompt, forced, cameraMask, promptPlaces = prompt.length } = prefix;
  const { imageTokens: I, maxTextTokens, gemma } = model;
  if (forced.length === 0) {
    throw new RangeError(
      "Cannot prefill: there must be a forced word for decoding to begin with",
    );
  }
  const stray = [...prompt, ...forced].find((id) => !(id >= 0 && id < gemma.vocab));
  if (stray !== undefined) {
    throw new RangeError(`Cannot prefill: token ${stray} is not in [0, ${gemma.vocab})`);
  }
  if (promptPlaces < prompt.length || promptPlaces + forced.length >= maxTextTokens) {
    throw new RangeError(
      `Cannot prefill: ${promptPlaces} places for a prompt of ${prompt.length} tokens and ` +
        `${forced.length} forced ones leave none of ${maxTextTokens} for actions`,
    );
  }
  const ids = { prompts: [prompt], forced, ...(cameraMask && { cameraMasks: [cameraMask] }) };
  const layout = layOut(I, ids, 0);
  const padding = promptPlaces - prompt.length;
  return {
    ids,
    layout: { ...layout, promptTokens: promptPlaces, length: layout.length + padding },
  };
}

/**
 * The words of `places`: rotary position and visibility of every place of the cache.
 *
 * @param model Sizes.
 * @param layout The prefix.
 * @returns Tokens of the prefill (all but the last), of its bidirectional part, then the places.
 */
export function placeWords(
  model: EngineModel,
  layout: SequenceLayout,
): Uint32Array<ArrayBuffer> {
  const capacity = capacityOf(model);
  const whole = { ...layout, fedTokens: capacity - layout.length, length: capacity };
  const positions = positionIds(whole, model.decodePositions);
  const mask = decodeMask(whole, capacity, capacity);
  const words = new Uint32Array(PLACES_HEADER_WORDS + 2 * capacity);
  words[0] = layout.length - 1;
  words[1] = layout.imageTokens + layout.promptTokens;
  for (let place = 0; place < capacity; place++) {
    words[PLACES_HEADER_WORDS + 2 * place] = positions[place];
    words[PLACES_HEADER_WORDS + 2 * place + 1] = mask[place] === 0 ? 1 : 0;
  }
  return words;
}

/**
 * Put image tokens into the first rows of a prefix.
 *
 * @param device Where to.
 * @param encoder Takes copies from one buffer to another.
 * @param model Sizes.
 * @param tokens `[I, D]`.
 * @param x `[T, D padded]`.
 * @throws {RangeError} If there is another number of them.
 */
export function writeImageTokens(
  device: GPUDevice,
  encoder: GPUCommandEncoder,
  model: EngineModel,
  tokens: EnginePrefix["imageTokens"],
  x: GPUBuffer,
): void {
  const { imageTokens: I, gemma: { width: D } } = model;
  const isHost = tokens instanceof Float32Array;
  const count = isHost ? tokens.length : tokens.size / 4;
  // tfjs hands out buffers that are larger than what is in them.
  if (isHost ? count !== I * D : count < I * D) {
    throw new RangeError(
      `Cannot prefill: image tokens are ${I} × ${D} = ${I * D} numbers, these are ${count}`,
    );
  }
  const stride = paddedColumns(D);
  const rows = stride === D ? 1 : I;
  const size = stride === D ? I * D : D;
  for (let i = 0; i < rows; i++) {
    if (isHost) {
      const row = tokens.slice(i * size, (i + 1) * size);
      device.queue.writeBuffer(x, 4 * i * stride, row);
    } else {
      encoder.copyBufferToBuffer(tokens, 4 * i * size, x, 4 * i * stride, 4 * size);
    }
  }
}
