/**
 * Tells what a checkpoint is by the names and shapes of its tensors.
 *
 * @module
 */

import {
  type GemmaSize,
  type PolicyVariant,
  type SiglipSize,
  tokensPerImage,
  type VariantName,
  VARIANTS,
} from "../policy/variants.ts";
import type { TensorShape } from "./check_tensors.ts";
import { CheckpointError } from "./errors.ts";
import type { CheckpointKind } from "./metadata.ts";
import { huggingFaceNames, planHuggingFace } from "./names/hugging_face.ts";
import type { LoadPlan, NameSet } from "./names/plan.ts";
import { planStacked, stackedNames } from "./names/stacked.ts";
import type { SourceFormat, StoredTensor } from "./tensor_source.ts";

/** Whose checkpoint it is. */
export type CheckpointOrigin = "tendon" | "openpi" | "lerobot" | "paligemma";

/** What a checkpoint is. */
export interface Recognition {
  /** An actor alone, which gets a fresh value head, or an actor with its critic. */
  readonly kind: CheckpointKind;
  /** Whose it is. */
  readonly origin: CheckpointOrigin;
  /** Format of its files. */
  readonly format: SourceFormat;
  /** Whose names its tensors have. */
  readonly names: NameSet;
  /** The variant that has its shapes; unknown when none has. */
  readonly variant: VariantName | "unknown";
  /** Sentences for people. */
  readonly notes: readonly string[];
}

/** What {@link recognise} needs of an open checkpoint. */
export interface Recognisable {
  /** Format of its files. */
  readonly format: SourceFormat;
  /** The file or folder. */
  readonly path: string;
  /** What it holds. */
  readonly tensors: readonly StoredTensor[];
}

const NAMES_SHOWN = 3;

/**
 * Tell what a checkpoint is.
 *
 * @param source The open checkpoint; nothing of its values is read.
 * @returns What it is.
 * @throws {CheckpointError} When its names are not those of a π0-FAST or PaliGemma model.
 */
export function recognise({ format, path, tensors }: Recognisable): Recognition {
  const names = tensors.map(({ name }) => name);
  const huggingFace = huggingFaceNames(names);
  if (huggingFace !== undefined) {
    return {
      kind: "imitation",
      origin: huggingFace.origin,
      format,
      names: "hugging_face",
      variant: guessVariant(huggingFaceSizes(tensors, huggingFace)),
      notes: huggingFace.origin === "paligemma" ? [NO_POLICY] : [],
    };
  }
  const stacked = stackedNames(names);
  if (stacked === undefined) {
    const some = names.slice(0, NAMES_SHOWN).join(", ");
    throw new CheckpointError(
      `Cannot tell what ${path} is: it has ${names.length} tensors` +
        `${some === "" ? "" : ` (${some}${names.length > NAMES_SHOWN ? ", …" : ""})`}, but none ` +
        "with the names of openpi, Tendon, LeRobot's π0-FAST or PaliGemma; choose another checkpoint.",
    );
  }
  const shapes = new Map(tensors.map((t) => [stacked.modelName(t.name), t.shape]));
  const hasCritic = [...shapes.keys()].some((name) => name.startsWith("value_head/"));
  return {
    kind: hasCritic ? "actor_critic" : "imitation",
    origin: stacked.origin,
    format,
    names: "stacked",
    variant: guessVariant(stackedSizes(shapes)),
    notes: stacked.origin === "paligemma" ? [NO_POLICY] : [],
  };
}

const NO_POLICY =
  "these are PaliGemma's base weights, a place to start imitation from: they are no policy";

/**
 * Plan to read a variant's backbone from a checkpoint.
 *
 * @param source The open checkpoint.
 * @param variant The model that is wanted.
 * @param wanted Its backbone: names and shapes.
 * @returns The plan; nothing has been checked.
 * @throws {CheckpointError} As {@link recognise} does.
 */
export function planBackbone(
  source: Recognisable,
  variant: PolicyVariant,
  wanted: readonly TensorShape[],
): LoadPlan {
  const names = source.tensors.map(({ name }) => name);
  const huggingFace = huggingFaceNames(names);
  if (huggingFace !== undefined) {
    return planHuggingFace(huggingFace, source.tensors, variant, wanted);
  }
  const stacked = stackedNames(names);
  if (stacked !== undefined) return planStacked(stacked, source.tensors, wanted);
  recognise(source); // throws, and says why
  throw new CheckpointError(`Cannot tell what ${source.path} is.`);
}

/** What shapes tell of a model; undefined where a tensor is missing. */
interface Sizes {
  readonly gemma: Partial<Record<Exclude<keyof GemmaSize, "lora">, number>>;
  readonly siglip: Partial<Record<"width" | "depth" | "mlpDim" | "patch" | "tokens", number>>;
  readonly loraRank: number | undefined;
}

function stackedSizes(shapes: ReadonlyMap<string, readonly number[]>): Sizes {
  const at = (name: string, axis: number) => shapes.get(`PaliGemma/${name}`)?.[axis];
  const queries = "llm/layers/attn/q_einsum/w";
  const block = "img/Transformer/encoderblock";
  return {
    gemma: {
      depth: at(queries, 0),
      heads: at(queries, 1),
      width: at(queries, 2),
      headDim: at(queries, 3),
      mlpDim: at("llm/layers/mlp/linear", 1),
      vocab: at("llm/embedder/input_embedding", 0),
    },
    siglip: {
      width: at("img/embedding/kernel", 3),
      patch: at("img/embedding/kernel", 0),
      depth: at(`${block}/LayerNorm_0/scale`, 0),
      mlpDim: at(`${block}/MlpBlock_0/Dense_0/kernel`, 2),
      tokens: at("img/pos_embedding", 1),
    },
    loraRank: at("llm/layers/attn/q_einsum/lora_a", 3),
  };
}

function huggingFaceSizes(
  tensors: readonly StoredTensor[],
  names: NonNullable<ReturnType<typeof huggingFaceNames>>,
): Sizes {
  const shapes = new Map(tensors.map(({ name, shape }) => [name, shape]));
  const depthOf = (start: string) =>
    new Set(
      tensors.filter(({ name }) => name.startsWith(start))
        .map(({ name }) => name.slice(start.length).split(".")[0]),
    ).size;
  const text = (name: string, axis: number) =>
    shapes.get(`${names.text}layers.0.${name}.weight`)?.[axis];
  const vision = (name: string, axis: number) =>
    shapes.get(`${names.vision}${name}.weight`)?.[axis];
  const headDim = text("self_attn.k_proj", 0);
  const queries = text("self_attn.q_proj", 0);
  return {
    gemma: {
      depth: depthOf(`${names.text}layers.`),
      heads: queries === undefined || headDim === undefined ? undefined : queries / headDim,
      width: text("self_attn.q_proj", 1),
      headDim,
      mlpDim: text("mlp.gate_proj", 0),
      vocab: shapes.get(names.embedding)?.[0],
    },
    siglip: {
      width: vision("embeddings.patch_embedding", 0),
      patch: vision("embeddings.patch_embedding", 2),
      depth: depthOf(`${names.vision}encoder.layers.`),
      mlpDim: vision("encoder.layers.0.mlp.fc1", 0),
      tokens: vision("embeddings.position_embedding", 0),
    },
    loraRank: undefined,
  };
}

/** Hugging Face pads the vocabulary to a multiple of this. */
const VOCABULARY_MULTIPLE = 64;

function guessVariant(found: Sizes): VariantName | "unknown" {
  const isVocab = (vocab: number) =>
    found.gemma.vocab !== undefined && found.gemma.vocab >= vocab &&
    found.gemma.vocab <= vocab + VOCABULARY_MULTIPLE;
  const fits = ({ gemma, siglip }: PolicyVariant & { siglip: SiglipSize }) =>
    (["width", "depth", "mlpDim", "heads", "headDim"] as const)
      .every((key) => found.gemma[key] === gemma[key]) &&
    isVocab(gemma.vocab) &&
    (["width", "depth", "mlpDim", "patch"] as const)
      .every((key) => found.siglip[key] === siglip[key]) &&
    found.siglip.tokens === tokensPerImage(siglip) &&
    found.loraRank === gemma.lora?.rank;
  const name = (Object.keys(VARIANTS) as VariantName[]).find((key) => fits(VARIANTS[key]));
  return name ?? "unknown";
}
