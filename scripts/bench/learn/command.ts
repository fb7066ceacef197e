/**
 * `deno task bench learn`: runs the experiments that show whether the policy learns.
 * @module
 */

import { join } from "node:path";
import { parseCommand, UsageError } from "../../../common/cli/flags.ts";
import { consoleLogger } from "../../../common/cli/logger.ts";
import { nearest } from "../../../common/cli/nearest.ts";
import type { Config, ConfigField } from "../../../common/config/config.ts";
import { CONFIG_FIELDS } from "../../../common/config/schema.ts";
import type { Logger } from "../../../common/types.ts";
import { evaluateRun, heldOutMeasure, type Measure, missingUpdates } from "./evaluate_run.ts";
import { type Experiment, EXPERIMENTS, type ExperimentVariant } from "./experiments.ts";
import { report } from "./report.ts";
import { keyOf, ResultFile, type RunResults } from "./result_lines.ts";
import { type PlannedRun, planRun, settingsOf, trainRun } from "./train_run.ts";

/** What the command decides for itself. */
const OWN_FIELDS: ReadonlySet<ConfigField> = new Set([
  "expName",
  "seed",
  "resume",
  "wandb",
  "wandbProject",
  "databaseUrl",
  "host",
  "port",
  "controllerPort",
  "learnerUrl",
  "tokenFile",
]);

const COMMAND = {
  name: "deno task bench learn",
  summary:
    "Train by PPO again and again, learner and controller as two processes, measure checkpoints on " +
    "held-out episodes, and tell mean and spread over seeds. What is finished is not repeated. " +
    "Settings given here replace those of the experiment and of every variant.",
  preset: "demo",
  fields: CONFIG_FIELDS.map(({ name }) => name).filter((name) => !OWN_FIELDS.has(name)),
  flags: {
    experiment: {
      kind: "choice",
      choices: EXPERIMENTS.map(({ name }) => name),
      default: EXPERIMENTS[0].name,
      description: EXPERIMENTS.map(({ name, summary }) => `${name}: ${summary}`).join(" "),
    },
    variants: {
      kind: "string",
      default: "",
      unit: "names",
      description: "Comma-separated variants to run, such as stale,anchor; empty runs all.",
    },
    seeds: {
      kind: "string",
      default: "0,1,2,3,4",
      unit: "integers",
      description: "Comma-separated seeds, one run each.",
    },
    evalEpisodes: {
      kind: "integer",
      default: 200,
      minimum: 1,
      maximum: 1_000_000,
      unit: "episodes",
      description: "Held-out episodes that each checkpoint is measured on.",
    },
    out: {
      kind: "string",
      default: "",
      unit: "file",
      description:
        "Result lines (JSONL), appended as they come and gone on with; empty for one in the folder " +
        "of checkpoints.",
    },
    goOn: {
      kind: "boolean",
      default: true,
      description: "Go on with what --out holds; --no-go-on begins it anew.",
    },
    peers: {
      kind: "string",
      default: "",
      unit: "files",
      description: "Result lines of other programs, comma-separated, for table and picture.",
    },
    picture: {
      kind: "string",
      default: "",
      unit: "file",
      description: "Where to draw the curves as SVG; empty draws none.",
    },
    json: {
      kind: "boolean",
      default: false,
      description: "Print all numbers as one JSON object, the last line of stdout.",
    },
  },
} as const satisfies Parameters<typeof parseCommand>[0];

/**
 * Read `--variants`.
 * @throws {UsageError} If a name is unknown.
 */
export function chosenVariants(experiment: Experiment, text: string): ExperimentVariant[] {
  if (text.trim() === "") return [...experiment.variants];
  const names = experiment.variants.map(({ name }) => name);
  return text.split(",").map((word) => {
    const found = experiment.variants.find(({ name }) => name === word.trim());
    if (found !== undefined) return found;
    const meant = nearest(word.trim(), names);
    throw new UsageError(
      `Invalid --variants: ${experiment.name} has no ${JSON.stringify(word.trim())}` +
        `${meant ? ` (did you mean ${meant}?)` : ""}; it has ${names.join(", ")}.`,
    );
  });
}

/**
 * Read `--seeds`.
 * @throws {UsageError} If one is no seed.
 */
export function chosenSeeds(text: string): number[] {
  const seeds = text.split(",").map((word) => {
    const seed = Number(word);
    if (word.trim() === "" || !Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
      throw new UsageError(
        `Invalid --seeds: ${
          JSON.stringify(word)
        } is none; it takes integers from 0 to 4294967295, ` +
          "separated by commas.",
      );
    }
    return seed;
  });
  return [...new Set(seeds)];
}

/**
 * Run the command.
 *
 * @param args Arguments behind `learn`.
 * @param signal Ends it by throwing its reason.
 * @throws {UsageError} If the command line is wrong.
 */
export async function runLearnBench(args: readonly string[], signal: AbortSignal): Promise<void> {
  const parsed = parseCommand(COMMAND, args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const { flags, config, given } = parsed;
  const experiment = EXPERIMENTS.find(({ name }) => name === flags.experiment)!;
  const variants = chosenVariants(experiment, flags.variants);
  const seeds = chosenSeeds(flags.seeds);
  const overrides = Object.fromEntries(
    Object.entries(config).filter(([field]) => given.has(field)),
  ) as Partial<Config>;
  const checkpointDir = given.has("checkpointDir")
    ? config.checkpointDir
    : join(config.checkpointDir, "learn");
  const file = new ResultFile(flags.out || join(checkpointDir, `${experiment.name}.jsonl`));
  const plans = seeds.flatMap((seed) =>
    variants.map((variant) => planned(experiment, variant, seed, overrides, checkpointDir))
  );
  if (!flags.goOn) await Deno.remove(file.path).catch(ignoreMissing);

  const log = consoleLogger();
  const measure = heldOutMeasure(flags.evalEpisodes);
  for (const plan of plans) {
    signal.throwIfAborted();
    await bringToEnd(plan, experiment, file, measure, log, signal);
  }

  const wanted = new Set(plans.map(keyOf));
  const runs = (await file.read()).filter((run) => wanted.has(keyOf(run)));
  const peers = (await Promise.all(
    flags.peers.split(",").filter((path) => path.trim() !== "").map((path) =>
      new ResultFile(path.trim()).read()
    ),
  )).flat();
  await report(experiment, runs, peers, {
    command: `deno task bench learn ${args.join(" ")}`,
    ...flags,
  });
}

function planned(...settings: Parameters<typeof planRun>): PlannedRun {
  try {
    return planRun(...settings);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`With variant ${settings[1].name}: ${error.message}`, { cause: error });
  }
}

/** Train and measure what is missing of one run. */
async function bringToEnd(
  plan: PlannedRun,
  { isEvaluated }: Experiment,
  file: ResultFile,
  measure: Measure,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const find = async () => (await file.read()).find((run) => keyOf(run) === keyOf(plan));
  let run = await find();
  if (run !== undefined) refuseOtherSettings(plan, run, file.path);
  if (run?.trained === undefined) {
    await trainRun(plan, run, file, log, signal);
    run = await find();
  }
  if (!isEvaluated || run === undefined || missingUpdates(plan, run).length === 0) return;
  await evaluateRun(plan, run, measure, file, log, signal);
}

/** Results of two configurations must not pass for one. */
function refuseOtherSettings(plan: PlannedRun, run: RunResults, path: string): void {
  const wanted = settingsOf(plan);
  const had: Record<string, unknown> = run.settings ?? {};
  const field = [...new Set([...Object.keys(wanted), ...Object.keys(had)])]
    .find((name) => wanted[name] !== had[name]);
  if (field === undefined) return;
  const say = (value: unknown) => value === undefined ? "the preset's" : JSON.stringify(value);
  throw new UsageError(
    `Cannot go on with ${keyOf(plan)} in ${path}: ${field} is ${say(had[field])} there, and ` +
      `${say(wanted[field])} now; give another --out, or --no-go-on to begin anew.`,
  );
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
