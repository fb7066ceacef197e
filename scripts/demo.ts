/**
 * `deno task demo`: the whole system on this machine. Measures the shipped imitation policy, starts
 * a learner and a controller as two processes joined by a WebSocket, watches them train, measures
 * the result.
 * @module
 */

import { parseCommand } from "../common/cli/flags.ts";
import { runMain } from "../common/cli/main.ts";
import type { Config } from "../common/config/config.ts";
import { useDevice } from "../common/policy/backend.ts";
import { chooseCheckpoint } from "../common/policy/choose_checkpoint.ts";
import { loadPolicy } from "../common/policy/load.ts";
import { evaluatePolicy, type EvaluationResult } from "../controller/evaluation.ts";
import { createRobots } from "../controller/sim/create_robots.ts";
import { type ChildEvent, configArguments, startProgram } from "./demo/child.ts";
import { progressHeader, progressRow, resultTable } from "./demo/screen.ts";

const COMMAND = {
  name: "deno task demo",
  summary: "Train the shipped policy by PPO on a simulated ALOHA, learner and controller as two " +
    "processes, and show success before and after.",
  preset: "demo",
  flags: {
    evalEpisodes: {
      kind: "integer",
      default: 100,
      minimum: 1,
      unit: "episodes",
      description: "Held-out episodes to measure success on, before and after.",
    },
    json: {
      kind: "boolean",
      default: false,
      description: "Print a JSON object as the last line of stdout.",
    },
  },
} as const satisfies Parameters<typeof parseCommand>[0];

await runMain(async (signal) => {
  const parsed = parseCommand(COMMAND, Deno.args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const { flags, given } = parsed;
  const expName = given.has("expName") ? parsed.config.expName : `demo-${timestamp()}`;
  // Nobody has to know the controller's port: any free one will do.
  const controllerPort = given.has("controllerPort") ? parsed.config.controllerPort : 0;
  const config = { ...parsed.config, expName, controllerPort };
  const start = performance.now();

  const choice = await chooseCheckpoint(config);
  console.log(`Measuring ${choice.path} on ${flags.evalEpisodes} held-out episodes …`);
  const before = await measure(choice.path, config, flags.evalEpisodes, signal);
  console.log(`Success ${percent(before.successRate)} before training. Starting to train.\n`);

  const trained = await train(config, start, signal);

  // A resumed run that had nothing left to do writes nothing: its newest is the one it started from.
  const result = trained.learner.checkpoint ?? choice.path;
  const after = await measure(result, config, flags.evalEpisodes, signal);
  console.log(`\n${resultTable(before, after)}\n`);
  console.log(`The trained policy is ${result}.`);
  const wallSeconds = (performance.now() - start) / 1000;
  if (flags.json) {
    console.log(JSON.stringify({
      updates: trained.learner.updates,
      chunksSent: trained.controller.chunksSent,
      chunksTrained: trained.learner.chunksTrained,
      episodes: trained.learner.episodes,
      successBefore: before.successRate,
      successAfter: after.successRate,
      rewardFirst: trained.rewards[0] ?? null,
      rewardLast: trained.rewards.at(-1) ?? null,
      policyVersion: trained.learner.policyVersion,
      wallSeconds,
      firstUpdateSeconds: trained.firstUpdateSeconds,
      seed: config.seed,
      checkpoint: result,
    }));
  }
});

/** The parts of the programs' summaries that are shown. */
interface Trained {
  readonly learner: ChildEvent & {
    readonly updates: number;
    readonly chunksTrained: number;
    readonly episodes: number;
    readonly policyVersion: number;
    readonly checkpoint: string | null;
  };
  readonly controller: ChildEvent & { readonly chunksSent: number };
  readonly rewards: readonly number[];
  readonly firstUpdateSeconds: number;
}

/** Start both programs and show each update until both have ended. */
async function train(config: Config, start: number, signal: AbortSignal): Promise<Trained> {
  const rewards: number[] = [];
  let firstUpdateSeconds = 0;
  console.log(progressHeader());
  const learner = startProgram("learner", configArguments(config), (event) => {
    if (event.event !== "update") return;
    firstUpdateSeconds ||= (performance.now() - start) / 1000;
    if (typeof event.episodeReward === "number") rewards.push(event.episodeReward);
    console.log(progressRow(event, config.updates, (performance.now() - start) / 1000));
  }, signal);
  await using _learner = learner;
  const { url } = await learner.listening;
  const learnerUrl = `${String(url).replace(/^http/, "ws")}/ws`;
  await using controller = startProgram(
    "controller",
    configArguments({ ...config, learnerUrl }),
    () => {},
    signal,
  );
  // Whichever fails first tells why; leaving this function stops the other one.
  const [learned, controlled] = await Promise.all([learner.summary, controller.summary]);
  return {
    learner: learned as Trained["learner"],
    controller: controlled as Trained["controller"],
    rewards,
    firstUpdateSeconds,
  };
}

async function measure(
  checkpoint: string,
  config: Config,
  episodes: number,
  signal: AbortSignal,
): Promise<EvaluationResult> {
  await useDevice(config.device);
  const { policy } = await loadPolicy(checkpoint, { ...config, normal: () => 0 });
  using _policy = policy;
  using robots = await createRobots(config, policy.shape.variant.siglip.imageSize);
  // The best token each time, as a trained robot acts: the result depends on the weights alone.
  return await evaluatePolicy(policy, robots.all, {
    episodes,
    temperature: 0,
    seed: 0,
    signal,
    execution: config,
  });
}

function percent(x: number): string {
  return `${(100 * x).toFixed(0)} %`;
}

/** Now, as part of a folder's name. */
function timestamp(): string {
  return new Date().toISOString().slice(0, 19).replaceAll(":", "-");
}
