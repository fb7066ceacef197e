/**
 * Reads the weights of a checkpoint of any origin, once all of them are known to fit.
 * @module
 */

import { checkTensors, type TensorShape } from "../checkpoint/check_tensors.ts";
import { type Checkpoint, readCheckpoint } from "../checkpoint/checkpoint.ts";
import { type MappedTensor, readMapped } from "../checkpoint/names/mapped_tensor.ts";
import { adapterNotes, isAdapter } from "../checkpoint/names/plan.ts";
import { CheckpointError } from "../checkpoint/errors.ts";
import type { LerobotConfig } from "../checkpoint/lerobot_config.ts";
import { planValueHead } from "../checkpoint/names/stacked.ts";
import { checkTied } from "../checkpoint/names/tied.ts";
import { openTensorSource } from "../checkpoint/open_source.ts";
import { planBackbone, recognise } from "../checkpoint/recognise.ts";
import type { TensorSource } from "../checkpoint/tensor_source.ts";
import type { Precision } from "../config/config.ts";
import { loadQuantized } from "../quant/load_quantized.ts";
import type { Bits } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import {
  foreignFacts,
  foreignMetadata,
  hasMetadata,
  isLoraOf,
  unreadableFacts,
  type WantedModel,
} from "./load_description.ts";
import { backboneSpecs, drawParameters, type ParameterSpec, valueHeadSpecs } from "./parameters.ts";
import { VARIANTS } from "./variants.ts";

const shapesOf = (specs: readonly ParameterSpec[], prefix = "") =>
  specs.map(({ path, shape }) => ({ name: prefix + path, shape }));

/** Weights that fit, and what had to be done for it. */
export interface ReadWeights {
  /** The weights, complete. */
  readonly checkpoint: Checkpoint;
  /** Sentences for people. */
  readonly notes: readonly string[];
}

function drawAdapters(
  specs: readonly ParameterSpec[],
  missing: readonly string[],
  normal: () => number,
): HostTensor[] {
  const names = new Set(missing);
  return [...drawParameters(specs.filter(({ path }) => names.has(path)), normal).values()];
}

/** What to tell of matrices that are stored in few bits: they run so whatever `--precision` says. */
function storedNotes(dir: string, quantized: Checkpoint["quantized"]): string[] {
  const [first] = quantized?.values() ?? [];
  return first ? [`${dir} is stored in ${first.bits} bits, and is computed with so`] : [];
}

async function readTendon(
  dir: string,
  wanted: WantedModel,
  normal: () => number,
): Promise<ReadWeights> {
  const read = await readCheckpoint(dir);
  const { model } = read.metadata;
  const variant = wanted.variant !== undefined && isLoraOf(wanted.variant, model.variant)
    ? wanted.variant
    : model.variant;
  const specs = backboneSpecs(VARIANTS[variant]);
  const there = new Set([
    ...read.actorBackbone.map(({ name }) => name),
    ...read.quantized?.keys() ?? [],
  ]);
  const missing = specs.map(({ path }) => path).filter((path) =>
    isAdapter(path) && !there.has(path)
  );
  const { valueHead } = read;
  const headSpecs = valueHead === undefined ? [] : valueHeadSpecs(
    VARIANTS[variant].gemma.width,
    model.valueHeadHiddenDim ?? valueHead.find(({ name }) => name === "out/kernel")?.shape[0] ?? 0,
    model.valueInput,
  );
  const stored = (prefix: string, tensors: readonly TensorShape[]) =>
    tensors.map(({ name, shape }) => ({ name: prefix + name, shape, dtype: "F32" }));
  checkTensors(
    [
      ...shapesOf(specs, "actor_backbone/").filter(({ name }) =>
        !missing.includes(name.slice("actor_backbone/".length))
      ),
      ...shapesOf(headSpecs, "value_head/"),
    ],
    [
      ...stored("actor_backbone/", [...read.actorBackbone, ...read.quantized?.values() ?? []]),
      ...stored("value_head/", valueHead ?? []),
    ],
    `checkpoint ${dir} as ${variant}`,
  );
  const actorBackbone = [...read.actorBackbone, ...drawAdapters(specs, missing, normal)];
  const metadata = { ...read.metadata, model: { ...model, variant } };
  return {
    checkpoint: { ...read, actorBackbone, metadata },
    notes: [...adapterNotes(missing), ...storedNotes(dir, read.quantized)],
  };
}

/** FAST ids lie below the highest words of the vocabulary, and must lie where they were trained. */
function checkFastIds(config: LerobotConfig | undefined, variant: keyof typeof VARIANTS): void {
  const { fastSkipTokens } = VARIANTS[variant];
  if (config === undefined || config.fastSkipTokens === fastSkipTokens) return;
  throw new CheckpointError(
    `Cannot use ${config.path}: its fast_skip_tokens is ${config.fastSkipTokens}, but in variant ` +
      `${variant} the ${fastSkipTokens} highest ids are no action tokens.`,
  );
}

/** Bits of a source's matrices, which are all stored alike; undefined when they are floats. */
function storedBits({ tensors }: TensorSource): Bits | undefined {
  const found = tensors.find(({ dtype }) => dtype === "I8" || dtype === "I4");
  return found && (found.dtype === "I8" ? 8 : 4);
}

/** Read the backbone; matrices go straight into few bits where they are stored or wanted so. */
async function readBackbone(
  source: TensorSource,
  mapped: readonly MappedTensor[],
  variant: keyof typeof VARIANTS,
  precision: Precision,
): Promise<Pick<Checkpoint, "actorBackbone" | "quantized">> {
  const wanted = ({ float32: undefined, int8: 8, int4: 4 } as const)[precision];
  const bits = storedBits(source) ?? wanted;
  if (bits === undefined) {
    const actorBackbone: HostTensor[] = [];
    for (const one of mapped) actorBackbone.push(await readMapped(source, one));
    return { actorBackbone };
  }
  const target = { bits, kinds: VARIANTS[variant].quantized };
  const { matrices, floats } = await loadQuantized(source, mapped, target);
  return { actorBackbone: [...floats.values()], quantized: matrices };
}

async function readForeign(
  dir: string,
  source: TensorSource,
  wanted: WantedModel,
  normal: () => number,
  precision: Precision,
): Promise<ReadWeights> {
  const recognition = recognise(source);
  const facts = await foreignFacts(dir, recognition);
  const metadata = foreignMetadata(dir, facts, wanted);
  const { variant } = metadata.model;
  checkFastIds(facts.lerobot, variant);
  const specs = backboneSpecs(VARIANTS[variant]);
  const plan = planBackbone(source, VARIANTS[variant], shapesOf(specs));
  const head = planValueHead(source.tensors);
  const hidden = head.find(({ name }) => name === "out/kernel")?.shape[0] ?? 0;
  const wantedHead = head.length === 0
    ? []
    : shapesOf(valueHeadSpecs(VARIANTS[variant].gemma.width, hidden), "value_head/");
  checkTensors(
    [...plan.wanted, ...wantedHead],
    [
      ...plan.found,
      ...head.map(({ name, shape }) => ({ name: `value_head/${name}`, shape, dtype: "F32" })),
    ],
    `checkpoint ${source.path} as ${variant}`,
    source.skipped,
  );
  await checkTied(source, plan);
  const { actorBackbone, quantized } = await readBackbone(source, plan.mapped, variant, precision);
  const valueHead: HostTensor[] = [];
  for (const mapped of head) valueHead.push(await readMapped(source, mapped));
  const { origin, format } = recognition;
  return {
    checkpoint: {
      metadata: head.length === 0
        ? metadata
        : { ...metadata, model: { ...metadata.model, valueHeadHiddenDim: hidden } },
      ...(quantized && { quantized }),
      actorBackbone: [...actorBackbone, ...drawAdapters(specs, plan.missingAdapters, normal)],
      valueHead: head.length === 0 ? undefined : valueHead,
      optimizer: undefined,
      assets: new Map(),
    },
    notes: [
      `${source.path} is a checkpoint of ${origin} (${format})`,
      ...facts.notes,
      ...plan.notes,
      ...(storedBits(source) ? storedNotes(dir, quantized) : []),
      ...(origin === "lerobot" && metadata.model.dialect !== "lerobot"
        ? ["LeRobot trains with other prompts than openpi: its checkpoints want --dialect lerobot"]
        : []),
    ],
  };
}

/**
 * Read a checkpoint of any origin. Every tensor's shape and number format is checked first; adapters
 * that the wanted variant has and the checkpoint lacks are drawn.
 *
 * @param dir Its folder or file.
 * @param wanted The model to take where the checkpoint does not say; its variant may be the
 *   checkpoint's with adapters.
 * @param normal Standard normal numbers for adapters.
 * @param precision How matrices of a checkpoint from elsewhere are loaded, which may be too large for
 *   float32.
 * @throws {CheckpointError} When it cannot be read, or with everything that does not fit.
 */
export async function readWeightsOf(
  dir: string,
  wanted: WantedModel,
  normal: () => number,
  precision: Precision = "float32",
): Promise<ReadWeights> {
  if (await hasMetadata(dir)) return await readTendon(dir, wanted, normal);
  using source = await openTensorSource(dir);
  return await readForeign(dir, source, wanted, normal, precision);
}

/**
 * Random weights in the place of a checkpoint that cannot be loaded.
 *
 * @param dir The checkpoint.
 * @param wanted The whole model.
 * @param normal Standard normal numbers.
 * @throws {CheckpointError} When the model is not given.
 */
export async function randomCheckpoint(
  dir: string,
  wanted: WantedModel,
  normal: () => number,
): Promise<Checkpoint> {
  const metadata = foreignMetadata(dir, await unreadableFacts(dir), wanted);
  const specs = backboneSpecs(VARIANTS[metadata.model.variant]);
  return {
    metadata: { ...metadata, initialization: "random" },
    actorBackbone: [...drawParameters(specs, normal).values()],
    valueHead: undefined,
    optimizer: undefined,
    assets: new Map(),
  };
}
