/**
 * Reads the fixtures that openpi's own code wrote, and draws the weights and pictures that it drew.
 * Written by `scripts/goldens/openpi_golden.py`.
 *
 * @module
 */

import type { HostTensor, RgbImage } from "../../common/types.ts";
import type { Network } from "../../common/policy/network.ts";
import {
  backboneSpecs,
  type ParameterSpec,
  ParameterStore,
  valueHeadSpecs,
} from "../../common/policy/parameters.ts";
import type {
  GemmaSize,
  LoraSize,
  PolicyVariant,
  SiglipSize,
} from "../../common/policy/variants.ts";

/** An array of a fixture: row-major, little-endian. */
export interface Packed {
  /** Dimensions. */
  readonly shape: readonly number[];
  /** float32 or, where the reader says so, bytes. */
  readonly base64: string;
}

/** What openpi computes for one choice of cameras that are seen. */
export interface CameraCase {
  /** `[B][cameras]`. */
  readonly cameraMasks: readonly (readonly boolean[])[];
  /** `compute_loss`, `[B]`. */
  readonly loss: readonly number[];
  /** Logits behind that loss, `[B]` of `[S_b, V]`. */
  readonly trainingLogits: readonly Packed[];
  /** The same words at the positions that `sample_actions` decodes at. */
  readonly decodingLogits: readonly Packed[];
  /** `make_attn_mask` of the training sequence: `[B][T]` texts of 0 and 1. */
  readonly attention?: readonly (readonly string[])[];
  /** The prefix as `left_to_right_align` leaves it. */
  readonly aligned?: {
    /** `[B][T]`: which place of the sequence stands here now. */
    readonly places: readonly (readonly number[])[];
    /** `[B]` texts. */
    readonly mask: readonly string[];
    /** `[B][T]` texts. */
    readonly attention: readonly (readonly string[])[];
    /** `[B][T]`. */
    readonly positions: readonly (readonly number[])[];
  };
}

/** One variant of the model. */
export interface VariantGolden {
  /** Every parameter's shape by path. */
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** By name: `all` cameras seen, one of them `masked`. */
  readonly cases: Readonly<Record<"all" | "masked", CameraCase>>;
  /** What `sample_actions` takes greedily, `[B][S]`. */
  readonly sampledTokens: readonly (readonly number[])[];
  /** `[B, S, V]`. */
  readonly sampledLogits: Packed;
  /** Of the mean loss with all cameras, by path. */
  readonly gradients: Readonly<Record<string, Packed>>;
}

/** `network.json`. */
export interface NetworkGolden {
  /** Sizes. */
  readonly siglip: SiglipSize;
  /** Sizes. */
  readonly gemma: GemmaSize;
  /** Sizes of the second variant's adapters. */
  readonly lora: LoraSize;
  /** `[B][P_b]`. */
  readonly prompts: readonly (readonly number[])[];
  /** `[B][S_b]`. */
  readonly postfix: readonly (readonly number[])[];
  /** By openpi's names. */
  readonly variants: Readonly<Record<"gemma_2b" | "gemma_2b_lora", VariantGolden>>;
}

/** Parse one of the fixtures. */
export function readGolden<T>(name: string): T {
  return JSON.parse(
    Deno.readTextFileSync(new URL(`../fixtures/openpi/${name}.json`, import.meta.url)),
  );
}

/** The values of a float32 array. */
export function floats({ base64 }: Packed): Float32Array {
  return new Float32Array(Uint8Array.fromBase64(base64).buffer);
}

/** The values of an array of bytes. */
export function bytes({ base64 }: Packed): Uint8Array {
  return Uint8Array.fromBase64(base64);
}

/** Numbers in [−1, 1): xorshift32 seeded with the name's FNV-1a hash, as in the script. */
export function noise(name: string, length: number): Float32Array {
  let x = 2166136261;
  for (const byte of new TextEncoder().encode(name)) x = Math.imul(x ^ byte, 16777619);
  return Float32Array.from({ length }, () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 31 - 1;
  });
}

/** A picture of noise. */
export function picture(name: string, height: number, width: number): RgbImage {
  const data = Uint8Array.from(noise(name, height * width * 3), (x) => Math.floor((x + 1) * 128));
  return { height, width, data };
}

function spread(path: string): number {
  if (path === "PaliGemma/img/embedding/kernel") return 0.1;
  return path.includes("/mlp/") ? 0.6 : 0.3;
}

function drawn(specs: readonly ParameterSpec[]): Map<string, HostTensor> {
  return new Map(specs.map(({ path, shape }) => {
    const scale = Math.fround(spread(path));
    const data = noise(path, shape.reduce((a, b) => a * b, 1)).map((x) => scale * x);
    return [path, { name: path, shape, data }];
  }));
}

/** The sizes that openpi was shrunk to. */
export function goldenVariant(golden: NetworkGolden, hasLora: boolean): PolicyVariant {
  return {
    name: hasLora ? "gemma_2b_lora" : "gemma_2b",
    siglip: golden.siglip,
    gemma: hasLora ? { ...golden.gemma, lora: golden.lora } : golden.gemma,
    // None is left out: "FAST tokens" are then the whole vocabulary, counted downwards.
    fastSkipTokens: 0,
    decodePositions: "openpi",
  };
}

/** The network with the golden's weights, on the current backend. */
export function goldenNetwork(golden: NetworkGolden, hasLora: boolean): Network & Disposable {
  const variant = goldenVariant(golden, hasLora);
  const specs = backboneSpecs(variant);
  const headSpecs = valueHeadSpecs(variant.gemma.width, 4);
  const backbone = new ParameterStore(specs, drawn(specs));
  const valueHead = new ParameterStore(headSpecs, drawn(headSpecs));
  return {
    variant,
    backbone,
    valueHead,
    fastVocab: variant.gemma.vocab,
    valueInput: "observation",
    maxValueSteps: 1,
    isCriticDetached: true,
    [Symbol.dispose]() {
      backbone.dispose();
      valueHead.dispose();
    },
  };
}
