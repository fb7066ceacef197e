/**
 * `deno task pretrain`: demonstrations → tokenizer → imitation → a checkpoint to start PPO from.
 * @module
 */

import { join } from "node:path";
import { parseCommand } from "../common/cli/flags.ts";
import { consoleLogger } from "../common/cli/logger.ts";
import { runMain } from "../common/cli/main.ts";
import {
  checkpointPath,
  inspectCheckpoint,
  writeCheckpoint,
} from "../common/checkpoint/checkpoint.ts";
import type { Config } from "../common/config/config.ts";
import { TENDON_VERSION } from "../common/config/version.ts";
import {
  normalizeActions,
  toPolicyActions,
  toPolicyState,
} from "../common/policy/action_transform.ts";
import { ActorCritic, type PolicyAssets } from "../common/policy/actor_critic.ts";
import { useDevice } from "../common/policy/backend.ts";
import { chooseCheckpoint } from "../common/policy/choose_checkpoint.ts";
import { ASSET_PATHS, loadPolicy, readAssetFiles } from "../common/policy/load.ts";
import {
  backboneSpecs,
  drawParameters,
  ParameterStore,
  valueHeadSpecs,
} from "../common/policy/parameters.ts";
import { type PolicyVariant, VARIANTS, withDecodePositions } from "../common/policy/variants.ts";
import { normal, seededRandom } from "../common/random.ts";
import { DIALECTS } from "../common/tokenizer/dialect.ts";
import { FastTokenizer } from "../common/tokenizer/fast.ts";
import {
  createLanguageTokenizer,
  type LanguageFiles,
  saveLanguageFiles,
} from "../common/tokenizer/language.ts";
import { computeFieldStats, saveNormStats, withMode } from "../common/tokenizer/normalization.ts";
import { buildWordLevelTokenizer } from "../common/tokenizer/word_level.ts";
import { ALOHA_DIM } from "../common/robot/aloha.ts";
import type { HostTensor, Logger } from "../common/types.ts";
import { evaluatePolicy } from "../controller/evaluation.ts";
import { START_NOISE_RAD } from "../controller/sim/create_robots.ts";
import { SimulatedAloha, type SimulationOptions } from "../controller/sim/aloha_sim.ts";
import type { Demonstration } from "../controller/sim/demonstrations.ts";
import { encodeDemonstrations } from "../learner/demonstrations.ts";
import { trainImitation } from "../learner/imitation.ts";
import { drawBackbone } from "../learner/imitation_start.ts";
import { COMMAND, type Flags } from "./pretrain/command.ts";
import { Recorder, type Recording } from "./pretrain/recorder.ts";

/** Smallest span that a joint's angle is normalised over, in rad (and gripper units). */
const MIN_STATE_RANGE = 0.2;
/** Smallest span of a chunk's joint differences, in rad: finer than this nobody can see. */
const MIN_ACTION_RANGE = 0.5;

/** The conventions of the policy that is made: there is no checkpoint yet that could say. */
function conventionOf({ dialect, actionMode, adaptToPi }: Config) {
  return {
    dialect: dialect === "auto" ? "openpi" : dialect,
    actionMode: actionMode === "auto" ? "delta" : actionMode,
    adaptToPi,
  } as const;
}

/** Fit statistics and tokenizers to demonstrations. */
function fitAssets(
  config: Config,
  examples: readonly Demonstration[],
  tokenizer: { readonly vocabSize: number; readonly scale: number },
): { assets: PolicyAssets; languageFiles: LanguageFiles } {
  const { actionDim, horizon, adaptToPi } = config;
  const convention = conventionOf(config);
  const raw = examples.map((e) =>
    toPolicyActions(e.actions, e.observation.state, actionDim, convention)
  );
  const stats = withMode({
    state: computeFieldStats(
      examples.flatMap((e) => [...toPolicyState(e.observation.state, adaptToPi)]),
      ALOHA_DIM,
      MIN_STATE_RANGE,
    ),
    actions: computeFieldStats(raw.flatMap((a) => [...a]), actionDim, MIN_ACTION_RANGE),
  }, DIALECTS[convention.dialect].normalization);
  const fast = FastTokenizer.fit(raw.map((a) => normalizeActions(a, stats)), {
    ...tokenizer,
    horizon,
    actionDim,
    alphabet: "complete",
  });
  const languageFiles = buildWordLevelTokenizer(TASK_WORDS);
  const language = createLanguageTokenizer(languageFiles, "the tiny vocabulary");
  return { assets: { fast, language, stats }, languageFiles };
}

/** What is trained. Owner of the policy. */
interface Start extends Disposable {
  /** The policy. */
  readonly policy: ActorCritic;
  /** Its assets as files of a checkpoint. */
  readonly assetFiles: () => Promise<ReadonlyMap<string, Uint8Array>>;
  /** Sentences for the checkpoint. */
  readonly notes: readonly string[];
}

/** Fit everything to the demonstrations, and draw weights. */
async function startAfresh(
  config: Config,
  examples: readonly Demonstration[],
  { random, fastVocab, fastScale, weightsFrom }:
    & Pick<Flags, "fastVocab" | "fastScale" | "weightsFrom">
    & { readonly random: () => number },
): Promise<Start> {
  const { assets, languageFiles } = fitAssets(config, examples, {
    vocabSize: fastVocab,
    scale: fastScale,
  });
  const convention = conventionOf(config);
  const variant = variantOf(config);
  const draw = () => normal(random);
  const weights = drawBackbone(variant, assets.language, draw);
  if (weightsFrom !== "") {
    for (const tensor of await weightsOf(weightsFrom, config, draw)) {
      weights.set(tensor.name, tensor);
    }
  }
  const headSpecs = valueHeadSpecs(variant.gemma.width, config.valueHeadHiddenDim);
  const policy = new ActorCritic(
    { ...config, ...convention, variant },
    assets,
    new ParameterStore(backboneSpecs(variant), weights),
    new ParameterStore(headSpecs, drawParameters(headSpecs, draw)),
  );
  return {
    policy,
    assetFiles: () => writeAssets(assets, languageFiles),
    notes: [],
    [Symbol.dispose]: () => policy[Symbol.dispose](),
  };
}

/** The weights of another policy of the configured variant. */
async function weightsOf(
  path: string,
  config: Config,
  normal: () => number,
): Promise<readonly HostTensor[]> {
  const { model } = await inspectCheckpoint(path);
  if (model.variant !== config.variant) {
    throw new RangeError(
      `Cannot start from the weights of ${path}: its variant is ${model.variant}, the ` +
        `configuration says ${config.variant}; choose another checkpoint`,
    );
  }
  const { policy } = await loadPolicy(path, { ...config, normal });
  using _ = policy;
  return await policy.network.backbone.toHost();
}

/** Go on with a checkpoint's weights, and with its tokenizers and statistics as they are. */
async function startFrom(config: Config, random: () => number): Promise<Start> {
  const { path, metadata } = await chooseCheckpoint(config);
  const { policy } = await loadPolicy(path, { ...config, normal: () => normal(random) });
  return {
    policy,
    assetFiles: () => readAssetFiles(path),
    notes: [
      `Went on from a policy of ${metadata.training.optimizerSteps} optimizer steps, made by: ` +
      `${metadata.command}`,
    ],
    [Symbol.dispose]: () => policy[Symbol.dispose](),
  };
}

function variantOf(config: Config): PolicyVariant {
  return withDecodePositions(
    VARIANTS[config.variant],
    config.decodePositions,
    DIALECTS[conventionOf(config).dialect].decodePositions,
  );
}

/** Words of every embedded task's prompt. */
const TASK_WORDS = "reach the red ball transfer cube to left right arm gripper".split(" ");

async function main(signal: AbortSignal): Promise<void> {
  const parsed = parseCommand(COMMAND, Deno.args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const { config, flags } = parsed;
  if (flags.rounds > 1 && config.task !== "transfer_cube") {
    throw new RangeError(
      `Cannot record ${config.task} in ${flags.rounds} rounds: its demonstrator drives alone; ` +
        "use --rounds 1",
    );
  }
  if (flags.rounds > flags.steps) {
    throw new RangeError(
      `Cannot divide ${flags.steps} gradient steps among ${flags.rounds} rounds: raise --steps or ` +
        "lower --rounds",
    );
  }
  const log = consoleLogger();
  const { backend } = await useDevice(config.device);
  log.info(`computing on ${backend}`);

  const { task, seed, maxEpisodeSteps, actionDim } = config;
  const { imageSize } = VARIANTS[config.variant].siglip;
  const simulation = {
    task,
    imageSize,
    maxEpisodeSteps,
    actionDim,
    startNoiseRad: START_NOISE_RAD,
  };
  const random = seededRandom(seed);
  using recorder = await Recorder.create(simulation, config, flags, random, signal);
  using going = config.checkpoint === "" ? undefined : await startFrom(config, random);
  const first = await recorder.record(going?.policy);
  const { examples } = first;
  log.info(recorded(first));

  using afresh = going ? undefined : await startAfresh(config, examples, { ...flags, random });
  const start = (going ?? afresh)!;
  const { policy, policy: { assets, shape } } = start;
  const tokenize = ({ observation, actions, scene }: Demonstration) => {
    const raw = toPolicyActions(actions, observation.state, actionDim, shape);
    const normalized = normalizeActions(raw, assets.stats);
    const tokens = assets.fast.encode(normalized, config.horizon, actionDim);
    return { observation, tokens, scene };
  };
  const tokenized = examples.map(tokenize);
  const meanTokens = tokenized.reduce((sum, e) => sum + e.tokens.length, 0) / tokenized.length;
  log.info(`${assets.fast.vocabSize} action tokens, ${meanTokens.toFixed(1)} a chunk`);

  const roundOf = (step: number) => Math.floor(step * flags.rounds / flags.steps);
  let averageLoss = 0, recordMs = 0;
  const startMs = performance.now();
  await trainImitation(policy, tokenized, {
    steps: flags.steps,
    batchSize: flags.batch,
    learningRate: flags.imitationLearningRate,
    sceneWeight: task === "transfer_cube" ? flags.sceneWeight : 0,
    random,
    onStep: async (step, loss) => {
      signal.throwIfAborted();
      averageLoss = step === 0 ? loss : 0.95 * averageLoss + 0.05 * loss;
      if ((step + 1) % 50 === 0) {
        const perStepMs = (performance.now() - startMs - recordMs) / (step + 1);
        log.info(
          `step ${step + 1}/${flags.steps}: loss ${averageLoss.toFixed(3)} nats a token, ` +
            `${perStepMs.toFixed(0)} ms a step`,
        );
      }
      if (roundOf(step + 1) === roundOf(step) || step + 1 === flags.steps) return;
      const beganMs = performance.now();
      const more = await recorder.record(policy);
      recordMs += performance.now() - beganMs;
      log.info(recorded(more));
      tokenized.push(...more.examples.map(tokenize));
    },
  });
  if (flags.saveDemonstrations !== "") {
    await Deno.writeFile(flags.saveDemonstrations, encodeDemonstrations(tokenized));
  }

  const metrics: Record<string, number> = {
    loss: averageLoss,
    demonstratorSuccess: first.successRate,
  };
  if (flags.evalEpisodes > 0) {
    Object.assign(
      metrics,
      await measure(policy, simulation, flags.evalEpisodes, { seed, signal, log }),
    );
  }

  const dir = checkpointPath(config.checkpointDir, config.expName, flags.steps);
  await save(dir, { config, flags, start, metrics, examples: tokenized.length });
  log.info(`wrote ${dir}`);
}

/** Success on held-out episodes, sampling and greedy. */
async function measure(
  policy: ActorCritic,
  simulation: SimulationOptions,
  episodes: number,
  { seed, signal, log }: {
    readonly seed: number;
    readonly signal: AbortSignal;
    readonly log: Logger;
  },
): Promise<Record<string, number>> {
  using owned = new DisposableStack();
  const robots: SimulatedAloha[] = [];
  while (robots.length < 25) robots.push(owned.use(await SimulatedAloha.create(simulation)));
  const metrics: Record<string, number> = {};
  for (const [way, temperature] of [["sampling", 1], ["greedy", 0]] as const) {
    const result = await evaluatePolicy(policy, robots, { episodes, temperature, seed, signal });
    metrics[`success_${way}`] = result.successRate;
    log.info(
      `held out, ${way}: success ${(100 * result.successRate).toFixed(0)} %, ` +
        `reward ${result.meanReward.toFixed(2)}, ${result.meanSteps.toFixed(0)} steps, ` +
        `${result.meanTokens.toFixed(1)} tokens a chunk, ${result.seconds.toFixed(1)} s`,
    );
  }
  return metrics;
}

/** What recording came to, in words. */
function recorded({ examples, successRate }: Recording): string {
  return `${examples.length} examples; ${
    (100 * successRate).toFixed(0)
  } % of the episodes succeeded`;
}

async function save(
  dir: string,
  made: {
    readonly config: Config;
    readonly flags: Flags;
    readonly start: Start;
    readonly metrics: Record<string, number>;
    readonly examples: number;
  },
): Promise<void> {
  const { config, flags, start: { policy, assetFiles, notes }, metrics } = made;
  await writeCheckpoint(dir, {
    info: {
      kind: "imitation",
      step: flags.steps,
      policyVersion: 0,
      model: {
        variant: config.variant,
        actionDim: config.actionDim,
        horizon: config.horizon,
        maxTokenLen: config.maxTokenLen,
        decodePositions: policy.shape.variant.decodePositions,
        dialect: policy.dialect.name,
        normalization: policy.shape.normalization,
        actionMode: policy.shape.actionMode ?? "delta",
        adaptToPi: policy.shape.adaptToPi ?? false,
      },
      training: {
        task: config.task,
        updates: flags.steps,
        controlSteps: made.examples *
          (config.task === "transfer_cube" ? config.horizon : flags.stride),
        chunks: flags.steps * flags.batch,
        episodes: flags.episodes,
        optimizerSteps: flags.steps,
        seed: config.seed,
        metrics,
        config: { ...flags },
      },
      tendonVersion: TENDON_VERSION,
      createdAt: new Date().toISOString(),
      command: [COMMAND.name, ...Deno.args].join(" "),
      notes,
    },
    actorBackbone: await policy.network.backbone.toHost(),
    assets: await assetFiles(),
  });
}

/** The policy's assets as files of a checkpoint. */
async function writeAssets(
  assets: PolicyAssets,
  languageFiles: LanguageFiles,
): Promise<Map<string, Uint8Array>> {
  const dir = await Deno.makeTempDir();
  try {
    await assets.fast.save(join(dir, ASSET_PATHS.fast));
    await saveLanguageFiles(join(dir, ASSET_PATHS.language), languageFiles);
    await Deno.mkdir(join(dir, "aloha"));
    await saveNormStats(join(dir, ASSET_PATHS.stats), assets.stats);
    const out = new Map<string, Uint8Array>();
    for (const sub of [ASSET_PATHS.fast, ASSET_PATHS.language, "aloha"]) {
      for await (const { name } of Deno.readDir(join(dir, sub))) {
        out.set(`${sub}/${name}`, await Deno.readFile(join(dir, sub, name)));
      }
    }
    return out;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

if (import.meta.main) await runMain(main);
