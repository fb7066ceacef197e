/**
 * `deno task eval`: how well a checkpoint does on episodes that no training ever saw.
 * @module
 */

import { parseCommand } from "../common/cli/flags.ts";
import { consoleLogger } from "../common/cli/logger.ts";
import { runMain } from "../common/cli/main.ts";
import { useDevice } from "../common/policy/backend.ts";
import { chooseDecoder } from "../common/engine/choose_decoder.ts";
import { cacheFolder } from "../common/engine/tuning_store.ts";
import { loadPolicy } from "../common/policy/load.ts";
import { loadOnDevice } from "../common/policy/load_on_device.ts";
import { normal, seededRandom } from "../common/random.ts";
import { evaluatePolicy } from "../controller/evaluation.ts";
import { describePolicy, policyStatus } from "../controller/policy_status.ts";
import { createRobots } from "../controller/sim/create_robots.ts";
import { openCheckpoint } from "./open_checkpoint.ts";
import { wilsonInterval } from "./statistics.ts";

const COMMAND = {
  name: "deno task eval",
  summary: "Measure a checkpoint on held-out episodes of the simulation. The model's sizes and " +
    "conventions come from the checkpoint where it says them, and so does the task unless --task is " +
    "given.",
  preset: "demo",
  fields: [
    "seed",
    "task",
    "checkpoint",
    "variant",
    "actionDim",
    "horizon",
    "maxTokenLen",
    "dialect",
    "actionMode",
    "temperature",
    "decodePositions",
    "adaptToPi",
    "device",
    "decoder",
    "precision",
    "numEnvs",
    "maxEpisodeSteps",
    "executeSteps",
    "executeStepsFinal",
    "executeUncertainty",
    "executeMinSteps",
  ],
  flags: {
    episodes: {
      kind: "integer",
      default: 100,
      minimum: 1,
      maximum: 1_000_000,
      unit: "episodes",
      description: "Held-out episodes; the first N are the same for every checkpoint and seed.",
    },
    greedy: {
      kind: "boolean",
      default: false,
      description:
        "Take the likeliest token each time, as temperature 0 would, instead of sampling.",
    },
    json: {
      kind: "boolean",
      default: false,
      description: "Print the result as one JSON object, the last line of stdout.",
    },
  },
} as const satisfies Parameters<typeof parseCommand>[0];

async function main(signal: AbortSignal): Promise<void> {
  const parsed = parseCommand(COMMAND, Deno.args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const { flags } = parsed;
  const log = consoleLogger();
  const { path, metadata, config } = await openCheckpoint(parsed.config, parsed.given);
  const { seed, task, maxEpisodeSteps } = config;
  const temperature = flags.greedy ? 0 : config.temperature;

  const wanted = await useDevice(config.device);
  const decoders = chooseDecoder({
    choice: config.decoder,
    device: wanted,
    cacheFolder: cacheFolder(Deno.env, Deno.build.os),
    logger: log,
  });
  // Acting does not ask the critic; an imitation checkpoint gets a fresh one that nobody reads.
  const load = () => {
    const random = seededRandom(seed);
    return loadPolicy(path, { ...config, decoders, normal: () => normal(random) });
  };
  const { variant } = metadata.model;
  const { device, loaded: { policy, notes } } = await loadOnDevice({
    device: wanted,
    variant,
    load,
    logger: log,
  });
  log.info(describePolicy(policy, device));
  const { precision } = policy.network.backbone;
  if (precision !== config.precision) { for (const note of notes) log.info(note); }
  using _policy = policy;
  const numEnvs = Math.min(config.numEnvs, flags.episodes);
  using robots = await createRobots({ ...config, numEnvs }, policy.shape.variant.siglip.imageSize);
  log.info(`${flags.episodes} held-out episodes of ${task} in ${numEnvs} environments`);
  const { episodes, ...result } = await evaluatePolicy(policy, robots.all, {
    episodes: flags.episodes,
    temperature,
    seed,
    signal,
    execution: config,
  });

  const { decoder, gpu } = policyStatus(policy);
  const successes = Math.round(result.successRate * episodes);
  const [low, high] = wilsonInterval(successes, episodes);
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const lines = [
    ["checkpoint", path],
    ["kind", `${metadata.kind}, policy version ${metadata.policyVersion}`],
    ["task", `${task}, at most ${maxEpisodeSteps} steps of 20 ms`],
    ["acting", flags.greedy ? "greedy" : `sampling at temperature ${temperature}`],
    ["success", `${successes} of ${episodes} = ${percent(result.successRate)}`],
    ["95 % interval (Wilson)", `${percent(low)} – ${percent(high)}`],
    ["reward an episode", result.meanReward.toFixed(3)],
    ["steps an episode", result.meanSteps.toFixed(1)],
    ["tokens a chunk", result.meanTokens.toFixed(1)],
    ["steps a chunk", result.meanChunkSteps.toFixed(1)],
    ["precision", precision],
    ["decoder", decoder],
    ["took", `${result.seconds.toFixed(1)} s on ${gpu ?? device.backend}`],
  ];
  for (const [name, value] of lines) console.log(name.padEnd(24) + value);
  if (!flags.json) return;
  console.log(JSON.stringify({
    checkpoint: path,
    kind: metadata.kind,
    policyVersion: metadata.policyVersion,
    task,
    seed,
    temperature,
    maxEpisodeSteps,
    episodes,
    successes,
    successInterval95: [low, high],
    ...result,
    device: device.backend,
    ...policyStatus(policy),
  }));
}

if (import.meta.main) await runMain(main);
