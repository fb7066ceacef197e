/**
 * `deno task bench policy`: what one chunk of a policy takes on a GPU, beside what it must take at least.
 * @module
 */

import { parseCommand, UsageError } from "../../../common/cli/flags.ts";
import { consoleLogger } from "../../../common/cli/logger.ts";
import { chunkArithmetic } from "../../../common/engine/arithmetic.ts";
import { cacheFolder, openTuningStore } from "../../../common/engine/tuning_store.ts";
import { useDevice } from "../../../common/policy/backend.ts";
import { seededRandom } from "../../../common/random.ts";
import { CAMERA_NAMES } from "../../../common/types.ts";
import { measurementTable } from "../measurement.ts";
import { loadCheckpoint } from "./load_checkpoint.ts";
import { loadRandom } from "./load_random.ts";
import { measurePolicy, measureRates } from "./measure.ts";
import { reportPolicy } from "./report.ts";

const COMMAND = {
  name: "deno task bench policy",
  summary:
    "Time one chunk of a policy on a GPU: image encoder, prefill, each decoded token and the " +
    "whole, beside the device's own rates and the shortest time that they allow.",
  preset: "full",
  fields: ["seed", "variant", "device", "precision"],
  flags: {
    weights: {
      kind: "string",
      default: "random",
      unit: "random or path",
      description:
        "random: weights of true size that mean nothing, since times depend on sizes alone. " +
        "Or the folder of a checkpoint, which then decides the sizes.",
    },
    prefillTokens: {
      kind: "integer",
      default: 0,
      minimum: 0,
      maximum: 4096,
      unit: "tokens",
      description:
        "Tokens before the actions, pictures and prompt; 0 takes the image tokens and 80 more. A " +
        "checkpoint's are those of its task.",
    },
    decodeTokens: {
      kind: "integer",
      default: 50,
      minimum: 1,
      maximum: 512,
      unit: "tokens",
      description: "Action tokens of a chunk of random weights; a checkpoint decides its own.",
    },
    layers: {
      kind: "integer",
      default: 0,
      minimum: 0,
      maximum: 64,
      unit: "layers",
      description:
        "Layers of random weights, of the image encoder and of the language model, where all of them " +
        "would take too long; 0 takes all.",
    },
    repeats: {
      kind: "integer",
      default: 10,
      minimum: 1,
      maximum: 1000,
      unit: "timings",
      description: "Timings behind each median.",
    },
    json: {
      kind: "boolean",
      default: false,
      description: "Print all numbers as one JSON object, the last line of stdout.",
    },
  },
} as const satisfies Parameters<typeof parseCommand>[0];

/**
 * Run the command.
 *
 * @param args Arguments behind `policy`.
 * @param signal Ends it by throwing its reason.
 * @throws {UsageError} If the command line is wrong.
 */
export async function runPolicyBench(args: readonly string[], signal: AbortSignal): Promise<void> {
  const parsed = parseCommand(COMMAND, args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const { flags, config, given } = parsed;
  const precision = given.has("precision") ? config.precision : "int8";
  const { gpu, reason } = await useDevice(config.device);
  if (!gpu) {
    throw new UsageError(
      `Cannot time a policy's kernels without a GPU: --device ${config.device} gave none (${reason}); ` +
        "use --device webgpu, which takes a software renderer too.",
    );
  }
  const log = consoleLogger();
  const folder = cacheFolder(Deno.env, Deno.build.os);
  const store = folder === undefined ? undefined : openTuningStore(folder, log);
  console.log(`device     ${gpu.info.name} (${reason})`);
  console.log(`deno       ${Deno.version.deno}`);
  log.info("loading the policy");
  const settings = { config: { ...config, precision }, given, tune: { logger: log, store } };
  using engines = flags.weights === "random"
    ? await loadRandom(gpu, { ...settings, ...flags })
    : await loadCheckpoint(gpu, { ...settings, dir: flags.weights });
  const { variant, bench: { prefillTokens, maxTokens, model }, engine, loadMs } = engines;
  console.log(
    `policy     ${variant.name} in ${precision}, weights: ${flags.weights}, ` +
      `${prefillTokens} tokens of prefix, at most ${maxTokens} of actions`,
  );
  log.info("measuring the device");
  const rates = await measureRates(gpu, flags.repeats);
  const times = await measurePolicy({
    gpu,
    engines,
    repeats: flags.repeats,
    random: seededRandom(config.seed),
    onPart: (name) => log.info(`measuring ${name}`),
    signal,
  });
  const arithmetic = chunkArithmetic(variant, {
    cameras: CAMERA_NAMES.length,
    prefillTokens,
    decodedTokens: times.chunkTokens,
    bits: precision === "float32" ? 32 : precision === "int8" ? 8 : 4,
    headRows: model.grammar.vocabSize,
    cacheNumberBytes: 4,
  });
  const { isSoftware } = gpu.info;
  const report = reportPolicy(times, rates, arithmetic, { loadMs, isSoftware });
  console.log(`\n${measurementTable("policy", report.measurements)}`);
  if (!flags.json) return;
  const { measurements: _, ...derived } = report;
  console.log(JSON.stringify({
    command: `deno task bench policy ${args.join(" ")}`,
    device: gpu.info,
    features: gpu.features,
    deno: Deno.version.deno,
    variant: variant.name,
    precision,
    weights: flags.weights,
    layers: variant.gemma.depth,
    cameras: CAMERA_NAMES.length,
    prefillTokens,
    repeats: flags.repeats,
    loadMs,
    tuning: engine.tuning,
    ...times,
    ...rates,
    ...derived,
    arithmetic,
  }));
}
