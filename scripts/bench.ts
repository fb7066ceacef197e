/**
 * `deno task bench`: what Tendon takes on this machine, beside what it should take.
 * @module
 */

import { cpus } from "node:os";
import { parseCommand, UsageError } from "../common/cli/flags.ts";
import { consoleLogger } from "../common/cli/logger.ts";
import { runMain } from "../common/cli/main.ts";
import { nearest } from "../common/cli/nearest.ts";
import { useDevice } from "../common/policy/backend.ts";
import { benchCamera } from "./bench/camera.ts";
import type { BenchContext } from "./bench/context.ts";
import { benchInference } from "./bench/inference.ts";
import { benchLeak } from "./bench/leak.ts";
import { benchLearner } from "./bench/learner.ts";
import { runLearnBench } from "./bench/learn/command.ts";
import { benchLoad } from "./bench/load.ts";
import { isGoalMet, type Measurement, measurementTable } from "./bench/measurement.ts";
import { runPolicyBench } from "./bench/policy/command.ts";
import { benchPrecision } from "./bench/precision.ts";
import { benchSimulation } from "./bench/simulation.ts";
import { benchTokenizer } from "./bench/tokenizer.ts";
import { benchWire } from "./bench/wire.ts";
import { openCheckpoint } from "./open_checkpoint.ts";

const PARTS: Readonly<Record<string, (context: BenchContext) => Promise<Measurement[]>>> = {
  inference: benchInference,
  simulation: benchSimulation,
  camera: benchCamera,
  learner: benchLearner,
  wire: benchWire,
  tokenizer: benchTokenizer,
  precision: benchPrecision,
  leak: benchLeak,
  load: benchLoad,
};

const COMMAND = {
  name: "deno task bench",
  summary:
    "Time the policy, the simulation, cameras, the learner's update, the wire, the tokenizer and loading, " +
    "compare the precisions of weights, and look for leaked tensors. Followed by the word policy, it " +
    "times one chunk of a policy of true size on a GPU: deno task bench policy --help. Followed by the " +
    "word learn, it trains and tells how well: deno task bench learn --help.",
  preset: "demo",
  fields: [
    "seed",
    "task",
    "checkpoint",
    "device",
    "precision",
    "numEnvs",
    "maxEpisodeSteps",
    "chunksPerUpdate",
    "epochs",
    "batchSize",
    "trainVision",
  ],
  flags: {
    only: {
      kind: "string",
      default: "",
      unit: "parts",
      description:
        `Comma-separated parts to run, of ${Object.keys(PARTS).join(", ")}; empty runs ` +
        "all.",
    },
    repeats: {
      kind: "integer",
      default: 30,
      minimum: 1,
      maximum: 10_000,
      unit: "timings",
      description:
        "Timings behind each median; whole updates take a tenth, batches fewer. Few of them " +
        "show a program that is not warm yet.",
    },
    loadScale: {
      kind: "number",
      default: 0.02,
      minimum: 0.001,
      maximum: 1,
      description:
        "Share of the full model's layers and words in the checkpoint that part load writes, " +
        "twice, to the folder for temporary files, and loads: 1 takes 24 GB.",
    },
    json: {
      kind: "boolean",
      default: false,
      description: "Print all numbers as one JSON object, the last line of stdout.",
    },
  },
} as const satisfies Parameters<typeof parseCommand>[0];

/** Read `--only`. */
function chosenParts(only: string): string[] {
  const known = Object.keys(PARTS);
  if (only.trim() === "") return known;
  return only.split(",").map((word) => {
    const name = word.trim();
    if (known.includes(name)) return name;
    const meant = nearest(name, known);
    throw new UsageError(
      `Invalid --only: there is no part ${JSON.stringify(name)}` +
        `${meant ? ` (did you mean ${meant}?)` : ""}; it takes ${known.join(", ")}.`,
    );
  });
}

async function main(signal: AbortSignal): Promise<void> {
  const [first, ...rest] = Deno.args.filter((argument) => argument !== "--");
  if (first === "policy") return await runPolicyBench(rest, signal);
  if (first === "learn") return await runLearnBench(rest, signal);
  const parsed = parseCommand(COMMAND, Deno.args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const { flags } = parsed;
  const parts = chosenParts(flags.only);
  const { path, config } = await openCheckpoint(parsed.config, parsed.given);
  const { backend, reason } = await useDevice(config.device);
  const log = consoleLogger();

  const cores = cpus();
  const machine = {
    device: backend,
    cpu: cores[0]?.model.trim() ?? "unknown",
    cores: cores.length,
    deno: Deno.version.deno,
    checkpoint: path,
    task: config.task,
    model: `${config.variant}, chunks of ${config.horizon}×${config.actionDim}`,
  };
  console.log(`device      ${backend} (${reason})`);
  console.log(`cpu         ${machine.cpu}, ${machine.cores} cores`);
  console.log(`deno        ${machine.deno}`);
  console.log(`checkpoint  ${path} (${machine.model})`);

  const { repeats, loadScale } = flags;
  const context = { checkpoint: path, config, repeats, loadScale, signal };
  const results: Record<string, readonly Measurement[]> = {};
  for (const part of parts) {
    signal.throwIfAborted();
    log.info(`measuring ${part}`);
    results[part] = await PARTS[part](context);
    console.log(`\n${measurementTable(part, results[part])}`);
  }

  const goals = Object.values(results).flat().filter((m) => m.goal);
  const met = goals.filter(isGoalMet).length;
  if (goals.length > 0) console.log(`\n${met} of ${goals.length} goals met`);
  if (!flags.json) return;
  const withVerdicts = Object.entries(results).map(([part, measurements]) => [
    part,
    measurements.map((m) => ({ ...m, name: m.name.trim(), isGoalMet: isGoalMet(m) })),
  ]);
  console.log(JSON.stringify({
    ...machine,
    repeats: flags.repeats,
    results: Object.fromEntries(withVerdicts),
  }));
}

if (import.meta.main) await runMain(main);
