/**
 * What a chunk costs at least: multiplications and additions, bytes, and the time they take on a device
 * of known rates. Pure arithmetic, against which measurements are held.
 *
 * Letters: L layers, D width, F MLP width, N heads, K head width, R rank, P tokens of a picture.
 *
 * @module
 */

import { type GemmaSize, type PolicyVariant, tokensPerImage } from "../policy/variants.ts";
import type { MatrixKind } from "../quant/matrix_layout.ts";

/** How many bits a matrix takes: float32, half precision, or integers with a scale a group of 32. */
export type StoredBits = 32 | 16 | 8 | 4;

/** A chunk and how the policy is stored. */
export interface ChunkSize {
  /** Pictures that are encoded; 3 unless told. */
  readonly cameras?: number;
  /** Tokens of the prefix, those of pictures included; 848 unless told. */
  readonly prefillTokens?: number;
  /** Tokens that are drawn; 50 unless told. */
  readonly decodedTokens?: number;
  /** Of matrices; 8 unless told. With 8 and 4, kinds that the variant does not quantise are float32. */
  readonly bits?: StoredBits;
  /** Rows of the output head that a token reads; the whole vocabulary unless told. */
  readonly headRows?: number;
  /** Bytes of a number in the cache of keys and values; 2 unless told. The engine's takes 4. */
  readonly cacheNumberBytes?: number;
}

/** Operations (a multiplication and an addition are two) and bytes of a chunk. */
export interface ChunkArithmetic {
  /** Tokens that are drawn. */
  readonly decodedTokens: number;
  /** Operations of all pictures. */
  readonly visionFlops: number;
  /** Operations of the prefix. */
  readonly prefillFlops: number;
  /** Operations of one drawn token, whose keys are those of the prefix and half of the drawn ones. */
  readonly tokenFlops: number;
  /** Bytes that the pictures read: the encoder's weights, once. */
  readonly visionBytes: number;
  /** Bytes that the prefix reads: the weights of all layers, once. */
  readonly prefillBytes: number;
  /** Bytes that a drawn token reads: the weights of all layers, the head, keys and values of a prefix. */
  readonly tokenBytes: number;
}

/** What a device can do. */
export interface DeviceRates {
  /** 10¹² operations a second. */
  readonly teraflops: number;
  /** 10⁹ bytes a second. */
  readonly gigabytesPerSecond: number;
}

/** The shortest times that a device's rates allow, in milliseconds. */
export interface ChunkFloor {
  /** All pictures. */
  readonly visionMs: number;
  /** The prefix. */
  readonly prefillMs: number;
  /** One drawn token. */
  readonly tokenMs: number;
  /** The whole chunk. */
  readonly chunkMs: number;
}

/** Bytes of a weight, its share of a half-precision scale included. */
function weightBytes(bits: StoredBits, kind: MatrixKind, variant: PolicyVariant): number {
  if (bits >= 16) return bits / 8;
  const isQuantized = variant.quantized?.includes(kind) ?? true;
  return isQuantized ? bits / 8 + 2 / 32 : 4;
}

/** Numbers of one layer's matrices in the language model. */
function layerWeights({ width: D, mlpDim: F, heads: N, headDim: K }: GemmaSize) {
  return { attention: D * K * (2 * N + 2), mlp: 3 * D * F };
}

/** Numbers of one layer's adapters, which stay in float32. */
function adapterWeights({ width: D, mlpDim: F, heads: N, headDim: K, lora }: GemmaSize): number {
  if (!lora) return 0;
  // A pair of factors is a way in and a way out: q and out have one a head.
  return lora.rank * (2 * N * (D + K) + 2 * (D + K) + 3 * (D + F));
}

/**
 * Count a chunk's operations and bytes, in products with matrices and in attention; norms, biases and
 * activations are too few to matter.
 *
 * @param variant The policy's sizes.
 * @param size The chunk.
 * @returns The counts.
 */
export function chunkArithmetic(variant: PolicyVariant, size: ChunkSize = {}): ChunkArithmetic {
  const { cameras = 3, prefillTokens = 848, decodedTokens = 50, bits = 8 } = size;
  const { gemma, siglip } = variant;
  const { headRows = gemma.vocab, cacheNumberBytes = 2 } = size;
  const bytesOf = (kind: MatrixKind) => weightBytes(bits, kind, variant);

  const { attention, mlp } = layerWeights(gemma);
  const adapters = adapterWeights(gemma);
  const perToken = gemma.depth * (attention + mlp + adapters);
  const layerBytes = gemma.depth *
    (attention * bytesOf("attention") + mlp * bytesOf("mlp") + adapters * 4);
  const headWeights = headRows * gemma.width;
  // Scores and sums over values: two products of a query with every key.
  const perPair = 4 * gemma.depth * gemma.heads * gemma.headDim;
  const keys = prefillTokens + decodedTokens / 2;

  const P = tokensPerImage(siglip);
  const { width: D, mlpDim: F, depth: L, patch } = siglip;
  const patchWeights = 3 * patch ** 2 * D;
  const visionAttention = L * 4 * D ** 2;
  const visionMlp = L * 2 * D * F;
  const visionHead = D * gemma.width;
  const visionWeights = patchWeights + visionAttention + visionMlp + visionHead;

  return {
    decodedTokens,
    visionFlops: cameras * (2 * P * visionWeights + 4 * L * P ** 2 * D),
    prefillFlops: 2 * prefillTokens * perToken + prefillTokens ** 2 * perPair,
    tokenFlops: 2 * (perToken + headWeights) + keys * perPair,
    visionBytes: 4 * patchWeights + visionAttention * bytesOf("visionAttention") +
      visionMlp * bytesOf("visionMlp") + visionHead * bytesOf("visionHead"),
    prefillBytes: layerBytes,
    tokenBytes: layerBytes + headWeights * bytesOf("embedding") +
      prefillTokens * gemma.depth * 2 * gemma.headDim * cacheNumberBytes,
  };
}

/**
 * The shortest time of a chunk: each part takes as long as its operations or its bytes, whichever is
 * longer, and nothing else takes any.
 *
 * @param chunk What has to be done.
 * @param rates What the device can do, both above 0.
 * @returns The times.
 * @throws {RangeError} If a rate is not above 0.
 */
export function chunkFloor(chunk: ChunkArithmetic, rates: DeviceRates): ChunkFloor {
  const { teraflops, gigabytesPerSecond } = rates;
  if (!(teraflops > 0) || !(gigabytesPerSecond > 0)) {
    throw new RangeError(
      `Cannot compute a floor for ${teraflops} TFLOP/s and ${gigabytesPerSecond} GB/s: both must be ` +
        "above 0",
    );
  }
  const ms = (flops: number, bytes: number) =>
    Math.max(flops / teraflops / 1e9, bytes / gigabytesPerSecond / 1e6);
  const visionMs = ms(chunk.visionFlops, chunk.visionBytes);
  const prefillMs = ms(chunk.prefillFlops, chunk.prefillBytes);
  const tokenMs = ms(chunk.tokenFlops, chunk.tokenBytes);
  return {
    visionMs,
    prefillMs,
    tokenMs,
    chunkMs: visionMs + prefillMs + chunk.decodedTokens * tokenMs,
  };
}
