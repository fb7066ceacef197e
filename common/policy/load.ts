/**
 * From a checkpoint to a policy in memory.
 * @module
 */

import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import { CheckpointError, CheckpointMismatch } from "../checkpoint/errors.ts";
import type { Initialization } from "../checkpoint/metadata.ts";
import type { DecodePositions, Precision, ValueInput } from "../config/config.ts";
import { DIALECTS } from "../tokenizer/dialect.ts";
import { ChunkGrammar } from "../tokenizer/grammar.ts";
import { type NormStats, normStatsFingerprint } from "../tokenizer/normalization.ts";
import type { QuantizedTensor } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import { ActorCritic, type PolicyShape } from "./actor_critic.ts";
import { CRITIC_PATHS, type DecoderSource } from "./chunk_decoder.ts";
import { loadAssets } from "./load_assets.ts";
import type { WantedModel } from "./load_description.ts";
import { readWeightsOf } from "./load_weights.ts";
import { backboneSpecs, drawParameters, ParameterStore, valueHeadSpecs } from "./parameters.ts";
import { VARIANTS, withDecodePositions } from "./variants.ts";

export { ASSET_PATHS, loadAssets, readAssetFiles } from "./load_assets.ts";

/** How the critic is made when the checkpoint has none. */
export interface CriticOptions {
  /** Width of its hidden layers. */
  readonly valueHeadHiddenDim: number;
  /** What it reads. */
  readonly valueInput: ValueInput;
  /** Most action tokens that a `chunk` critic reads. */
  readonly maxValueSteps: number;
  /** The value loss trains the critic alone. */
  readonly isCriticDetached: boolean;
  /** Overrules the checkpoint's positions of decoded tokens; absent or `variant` does not. */
  readonly decodePositions?: DecodePositions;
  /** Only tokens are drawn with which a chunk still decodes; true if absent. */
  readonly constrainedDecoding?: boolean;
  /** Whether the policy speaks pi's convention, where the checkpoint does not say. */
  readonly adaptToPi?: boolean;
  /** How the policy's matrices are kept; as the checkpoint has them if absent. */
  readonly precision?: Precision;
  /** Plans what acts in the place of tfjs, such as the engine on the GPU; tfjs acts if absent. */
  readonly decoders?: DecoderSource;
  /** Standard normal numbers for its fresh weights. */
  readonly normal: () => number;
}

/** A policy and where it came from. Owner of the policy. */
export interface LoadedPolicy {
  /** The policy. */
  readonly policy: ActorCritic;
  /** What was read. */
  readonly checkpoint: Checkpoint;
  /** Sentences for people, such as that a value head was added. */
  readonly notes: readonly string[];
  /** Whether its weights are the checkpoint's, or random because that could not be loaded. */
  readonly initialization: Initialization;
}

const byName = (tensors: Iterable<HostTensor>) => new Map([...tensors].map((t) => [t.name, t]));

/**
 * Load a policy. An imitation checkpoint gets a fresh value head and a note that says so; an
 * actor-critic one brings its own, whose shape then wins over `critic`.
 *
 * @param dir Folder of the checkpoint, of any origin.
 * @param critic How to make the critic if there is none, and the model where the checkpoint does not
 *   say: one from elsewhere has no metadata.
 * @throws CheckpointError or RangeError, one sentence, if anything is missing or does not fit.
 */
export async function loadPolicy(
  dir: string,
  critic: CriticOptions & WantedModel,
): Promise<LoadedPolicy> {
  const { checkpoint, notes } = await readWeightsOf(dir, critic, critic.normal, critic.precision);
  checkPrecision(dir, checkpoint, critic.precision);
  const policy = await buildPolicy(dir, checkpoint, critic);
  const { valueHeadHiddenDim, valueInput } = policy.shape;
  return {
    policy,
    checkpoint,
    notes: checkpoint.valueHead !== undefined ? notes : [
      ...notes,
      `${dir} is an imitation checkpoint without a critic: added a fresh value head ` +
      `(hidden ${valueHeadHiddenDim}, reads the ${valueInput})`,
    ],
    initialization: "checkpoint",
  };
}

/** Quantising what is quantised already would lose twice. */
function checkPrecision(dir: string, { quantized }: Checkpoint, wanted?: Precision): void {
  const [first] = quantized?.values() ?? [];
  if (!first || wanted === undefined || wanted === "float32" || wanted === `int${first.bits}`) {
    return;
  }
  throw new CheckpointMismatch(
    `Cannot use checkpoint ${dir} with --precision ${wanted}: it is stored in ${first.bits} bits; ` +
      "leave the flag out, or use the checkpoint that it was converted from.",
  );
}

/**
 * Put a policy together from weights that fit and the assets beside them.
 *
 * @param dir Folder of the assets.
 * @param checkpoint The weights; a critic is drawn if there is none.
 * @param critic How to make the critic if there is none.
 * @throws CheckpointError or RangeError, one sentence, if an asset is missing or does not fit.
 */
export async function buildPolicy(
  dir: string,
  checkpoint: Checkpoint,
  critic: CriticOptions,
): Promise<ActorCritic> {
  const { model } = checkpoint.metadata;
  const { dialect = "openpi" } = model;
  const variant = withDecodePositions(
    VARIANTS[model.variant],
    critic.decodePositions,
    model.decodePositions,
    DIALECTS[dialect].decodePositions,
  );
  const hasCritic = checkpoint.valueHead !== undefined;
  const shape: PolicyShape = {
    variant,
    horizon: model.horizon,
    actionDim: model.actionDim,
    maxTokenLen: model.maxTokenLen,
    dialect,
    normalization: model.normalization,
    actionMode: model.actionMode ?? "delta",
    adaptToPi: model.adaptToPi ?? critic.adaptToPi ?? false,
    constrainedDecoding: critic.constrainedDecoding ?? true,
    valueHeadHiddenDim: (hasCritic && model.valueHeadHiddenDim) || critic.valueHeadHiddenDim,
    valueInput: (hasCritic && model.valueInput) || critic.valueInput,
    maxValueSteps: (hasCritic && model.maxValueSteps) || critic.maxValueSteps,
    isCriticDetached: critic.isCriticDetached,
  };
  const headSpecs = valueHeadSpecs(
    variant.gemma.width,
    shape.valueHeadHiddenDim,
    shape.valueInput,
  );
  const head = checkpoint.valueHead
    ? byName(checkpoint.valueHead)
    : drawParameters(headSpecs, critic.normal);
  const assets = await loadAssets(dir);
  checkStats(dir, assets.stats, shape);
  using owned = new DisposableStack(); // frees the weights if something after them throws
  const tensors = new Map<string, HostTensor | QuantizedTensor>([
    ...byName(checkpoint.actorBackbone),
    ...checkpoint.quantized ?? [],
  ]);
  const storage = { precision: critic.precision ?? "float32", quantized: variant.quantized };
  const grammar = () => new ChunkGrammar(assets.fast, model.horizon, model.actionDim);
  const open = critic.decoders?.plan({ shape, grammar: grammar() }) ?? null;
  const isElsewhere = open !== null;
  const backbone = new ParameterStore(backboneSpecs(variant), tensors, { ...storage, isElsewhere });
  owned.defer(() => backbone.dispose());
  const valueHead = new ParameterStore(headSpecs, head, { precision: "float32", isElsewhere });
  owned.defer(() => valueHead.dispose());
  const policy = new ActorCritic(shape, assets, backbone, valueHead);
  if (open) policy.useDecoder(await open({ backbone: tensors, valueHead: head, storage }));
  owned.move();
  return policy;
}

/** Statistics of another robot would be used for the wrong joints. */
function checkStats(dir: string, { state, actions }: NormStats, { actionDim }: PolicyShape): void {
  if (actions.mean.length === actionDim && state.mean.length >= actionDim) return;
  throw new CheckpointError(
    `Cannot use checkpoint ${dir}: its statistics are of ${state.mean.length} numbers of the state ` +
      `and ${actions.mean.length} of the actions, but its actions have ${actionDim}; put the ` +
      "statistics of its own training beside it.",
  );
}

/**
 * What two peers must agree on, by name, before they exchange chunks or weights.
 * @param temperature The sampling temperature that log-probabilities are computed at.
 */
export function policySignature(
  { shape, assets, dialect }: ActorCritic,
  temperature: number,
): Record<string, string> {
  const { horizon, actionDim, maxTokenLen, valueHeadHiddenDim, valueInput } = shape;
  // Each peer keeps its own matrices as it likes: weights travel in float32.
  const { quantized: _, ...variant } = shape.variant;
  // The other critic never reads more than one state, whatever this says.
  const maxValueSteps = valueInput === "chunk" ? shape.maxValueSteps : undefined;
  // The dialect's own way goes without saying.
  const { normalization = dialect.normalization } = shape;
  const ownMode = normalization === dialect.normalization ? [] : [normalization];
  return {
    model: JSON.stringify({ ...variant, valueHeadHiddenDim, valueInput, maxValueSteps }),
    dialect: dialect.name,
    convention: shape.adaptToPi ? "pi" : "aloha",
    actions: shape.actionMode ?? "delta",
    tokenizer: assets.fast.fingerprint(),
    language: assets.language.fingerprint(),
    normalization: [...ownMode, normStatsFingerprint(assets.stats)].join(" "),
    chunk:
      `${horizon}x${actionDim}, at most ${maxTokenLen} text tokens, temperature ${temperature}` +
      (shape.constrainedDecoding === false ? ", any token" : ""),
  };
}

/** Prefixes that keep the actor's and the critic's weights apart on the wire and in checkpoints. */
const ACTOR_PREFIX = "actor_backbone/";
const CRITIC_PREFIX = CRITIC_PATHS;

/**
 * Weights in host memory, under prefixed names.
 * @param isWanted Which paths of the backbone; all if absent. The critic's always come.
 */
export async function readWeights(
  { network }: ActorCritic,
  isWanted?: (path: string) => boolean,
): Promise<HostTensor[]> {
  const prefixed = (prefix: string, tensors: HostTensor[]) =>
    tensors.map((t) => ({ ...t, name: prefix + t.name }));
  return [
    ...prefixed(ACTOR_PREFIX, await network.backbone.toHost(isWanted)),
    ...prefixed(CRITIC_PREFIX, await network.valueHead.toHost()),
  ];
}

/** The actor's and the critic's part of {@link readWeights}, without prefixes. */
export function splitWeights(
  weights: readonly HostTensor[],
): { actorBackbone: HostTensor[]; valueHead: HostTensor[] } {
  const part = (prefix: string) =>
    weights.filter((t) => t.name.startsWith(prefix))
      .map((t) => ({ ...t, name: t.name.slice(prefix.length) }));
  return { actorBackbone: part(ACTOR_PREFIX), valueHead: part(CRITIC_PREFIX) };
}

/**
 * Write weights into a policy, between two chunks.
 * @throws RangeError if a name or a shape is not the policy's; nothing has been written then.
 */
export function assignWeights(
  { network, decoder }: ActorCritic,
  weights: readonly HostTensor[],
): void {
  const stray = weights.find(({ name }) =>
    !name.startsWith(ACTOR_PREFIX) && !name.startsWith(CRITIC_PREFIX)
  );
  if (stray) {
    throw new RangeError(
      `Cannot assign ${stray.name}: names begin with ${ACTOR_PREFIX} or ${CRITIC_PREFIX}`,
    );
  }
  const { actorBackbone, valueHead } = splitWeights(weights);
  network.backbone.check(actorBackbone);
  network.valueHead.check(valueHead);
  const withPaths = weights.map(({ name, shape, data }) => ({
    name: name.startsWith(ACTOR_PREFIX) ? name.slice(ACTOR_PREFIX.length) : name,
    shape,
    data,
  }));
  decoder?.check(withPaths);
  network.backbone.assign(actorBackbone);
  network.valueHead.assign(valueHead);
  decoder?.assign(withPaths);
}
