/**
 * The sizes a π0-FAST policy comes in. One implementation serves them all.
 *
 * Sizes of `gemma_2b` and SigLIP So400m/14 are those of openpi (`src/openpi/models/gemma_fast.py`,
 * `siglip.py`). `tiny` has the same architecture, small enough to train on two CPU cores.
 *
 * @module
 */

import { MATRIX_KINDS, type MatrixKind } from "../quant/matrix_layout.ts";

/** The image encoder's sizes. */
export interface SiglipSize {
  /** Side of the square input picture in pixels; a multiple of `patch`. */
  readonly imageSize: number;
  /** Side of a square patch in pixels. */
  readonly patch: number;
  /** D: model width. */
  readonly width: number;
  /** L: number of transformer blocks. */
  readonly depth: number;
  /** F: width of the MLP. */
  readonly mlpDim: number;
  /** N: attention heads. */
  readonly heads: number;
}

/** Low-rank adapters on attention and MLP of the language model. */
export interface LoraSize {
  /** Rank of each adapter. */
  readonly rank: number;
  /**
   * The output of the attention's adapters is multiplied by alpha / rank. That of the MLP's is not:
   * so it is in openpi (`lora.py`), where both real variants have alpha = rank.
   */
  readonly alpha: number;
}

/** The language model's sizes. */
export interface GemmaSize {
  /** D: model width. */
  readonly width: number;
  /** L: number of transformer blocks. */
  readonly depth: number;
  /** F: width of the gated MLP. */
  readonly mlpDim: number;
  /** N: query heads; there is one key/value head. */
  readonly heads: number;
  /** K: width of a head. */
  readonly headDim: number;
  /** V: language vocabulary. */
  readonly vocab: number;
  /** Adapters, if the variant has them. */
  readonly lora?: LoraSize;
}

/** A whole policy's sizes. */
export interface PolicyVariant {
  /** Name in the table. */
  readonly name: string;
  /** Image encoder. */
  readonly siglip: SiglipSize;
  /** Language model. */
  readonly gemma: GemmaSize;
  /** Highest language ids that are left free of FAST tokens (128 in openpi: PaliGemma's last ids). */
  readonly fastSkipTokens: number;
  /**
   * FAST ids stand for words as well. So it is in openpi: its 2,048 lie over PaliGemma's <loc…>
   * tokens and Gemma's 1,024 last words, which prompts do not have. False if absent: both must fit.
   */
  readonly fastSharesTextIds?: boolean;
  /**
   * Position of the token fed at decode step s: `natural` is prefix length + s; `openpi` is one more,
   * as openpi's sampler has it (openpi issue 705).
   */
  readonly decodePositions: "natural" | "openpi";
  /**
   * A state outside what demonstrations showed is told as the edge of it. False if absent: openpi
   * and LeRobot write bin −1 for a number below −1.
   */
  readonly clipsState?: boolean;
  /**
   * Matrices that `--precision int8` and `int4` keep in few bits; the others stay in float32, as norms,
   * biases, adapters, the value head and the patch and position embeddings always do. All if absent.
   */
  readonly quantized?: readonly MatrixKind[];
}

const SO400M: SiglipSize = {
  imageSize: 224,
  patch: 14,
  width: 1152,
  depth: 27,
  mlpDim: 4304,
  heads: 16,
};

const GEMMA_2B: GemmaSize = {
  width: 2048,
  depth: 18,
  mlpDim: 16384,
  heads: 8,
  headDim: 256,
  vocab: 257152,
};

/** Every variant by name. */
export const VARIANTS = {
  tiny: {
    name: "tiny",
    siglip: { imageSize: 56, patch: 14, width: 64, depth: 2, mlpDim: 192, heads: 4 },
    gemma: { width: 64, depth: 3, mlpDim: 192, heads: 4, headDim: 16, vocab: 640 },
    fastSkipTokens: 8,
    decodePositions: "natural",
    clipsState: true, // its demonstrations hardly show bin −1
    // Rows of 64 average out little rounding: in 8 bits, these keep 99 % of greedy tokens as they
    // are, all matrices 98 % (`deno task bench --only precision`).
    quantized: ["mlp", "visionMlp"],
  },
  gemma_2b: {
    name: "gemma_2b",
    siglip: SO400M,
    gemma: GEMMA_2B,
    fastSkipTokens: 128,
    fastSharesTextIds: true,
    decodePositions: "openpi",
    quantized: MATRIX_KINDS,
  },
  gemma_2b_lora: {
    name: "gemma_2b_lora",
    siglip: SO400M,
    gemma: { ...GEMMA_2B, lora: { rank: 16, alpha: 16 } },
    fastSkipTokens: 128,
    fastSharesTextIds: true,
    decodePositions: "openpi",
    quantized: MATRIX_KINDS,
  },
} as const satisfies Record<string, PolicyVariant>;

/** Name of a variant in {@link VARIANTS}. */
export type VariantName = keyof typeof VARIANTS;

/**
 * A variant with another convention of decoding.
 * @param choices The first that is neither undefined, null nor `variant` holds.
 */
export function withDecodePositions(
  variant: PolicyVariant,
  ...choices: readonly (PolicyVariant["decodePositions"] | "variant" | null | undefined)[]
): PolicyVariant {
  const chosen = choices.find((c) => c !== "variant" && c !== null && c !== undefined);
  return chosen ? { ...variant, decodePositions: chosen } : variant;
}

/** Image tokens that one camera contributes: (imageSize / patch)². */
export function tokensPerImage(
  { imageSize, patch }: Pick<SiglipSize, "imageSize" | "patch">,
): number {
  return (imageSize / patch) ** 2;
}

/** RMSNorm's epsilon in Gemma, LayerNorm's in SigLIP. */
export const NORM_EPSILON = 1e-6;

/** Longest wavelength of the rotary position embedding. */
export const ROPE_MAX_WAVELENGTH = 10_000;

/** What a masked logit becomes: the value that openpi uses, far below any real logit. */
export const MASKED_LOGIT: number = -2.3819763e38;
