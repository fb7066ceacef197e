/**
 * `deno task bench policy`: what one chunk of a policy takes on a GPU, beside what it must take at least.
 * @module
 */

import { parseCommand, UsageError } from "../../../common/cli/flags.ts";
import { consoleLogger } from "../../../common/cli/logger.ts";
import type { GpuDevice } from "../../../common/device/gpu_device.ts";
import { chunkArithmetic } from "../../../common/engine/arithmetic.ts";
import { DecodeEngine } from "../../../common/engine/decode_engine.ts";
import { randomVisionWeights } from "../../../common/engine/random_vision_weights.ts";
import { randomWeights } from "../../../common/engine/random_weights.ts";
import { VisionEncoder } from "../../../common/engine/vision_encoder.ts";
import { useDevice } from "../../../common/policy/backend.ts";
import { type PolicyVariant, VARIANTS } from "../../../common/policy/variants.ts";
import { seededRandom } from "../../../common/random.ts";
import { CAMERA_NAMES } from "../../../common/types.ts";
import { measurementTable } from "../measurement.ts";
import { type MadeUpModel, makeUpModel } from "./made_up_model.ts";
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
      kind: "choice",
      choices: ["random"],
      default: "random",
      description: "Weights of true size that mean nothing: times depend on sizes alone.",
    },
    prefillTokens: {
      kind: "integer",
      default: 0,
      minimum: 0,
      maximum: 4096,
      unit: "tokens",
      description:
        "Tokens before the actions, pictures and prompt; 0 takes the image tokens and 80 more.",
    },
    decodeTokens: {
      kind: "integer",
      default: 50,
      minimum: 1,
      maximum: 512,
      unit: "tokens",
      description: "Action tokens of a chunk.",
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

/** A policy on the device, and how long it took to get there. */
interface LoadedEngines extends Disposable {
  readonly vision: VisionEncoder;
  readonly engine: DecodeEngine;
  readonly loadMs: number;
}

async function loadEngines(
  gpu: GpuDevice,
  variant: PolicyVariant,
  { model }: MadeUpModel,
  precision: "float32" | "int8" | "int4",
  seed: number,
): Promise<LoadedEngines> {
  using stack = new DisposableStack();
  const random = seededRandom(seed);
  const storage = { precision, quantized: variant.quantized };
  const size = { siglip: variant.siglip, width: variant.gemma.width, cameras: CAMERA_NAMES.length };
  // Numbers are made before the clock starts: a checkpoint's come from its files.
  const ofVision = randomVisionWeights(size, storage, random);
  const ofLanguage = randomWeights(model, storage, random);
  const start = performance.now();
  const vision = stack.use(await VisionEncoder.create(gpu, size, ofVision));
  const engine = stack.use(await DecodeEngine.create(gpu, model, ofLanguage));
  await gpu.device.queue.onSubmittedWorkDone();
  const loadMs = performance.now() - start;
  const owned = stack.move();
  return { vision, engine, loadMs, [Symbol.dispose]: () => owned.dispose() };
}

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
  const variant = VARIANTS[config.variant];
  const { gpu, reason } = await useDevice(config.device);
  if (!gpu) {
    throw new UsageError(
      `Cannot time a policy's kernels without a GPU: --device ${config.device} gave none (${reason}); ` +
        "use --device webgpu, which takes a software renderer too.",
    );
  }
  const log = consoleLogger();
  const random = seededRandom(config.seed);
  const madeUp = makeUpModel(variant, flags, random);
  const { prefillTokens } = madeUp;
  console.log(`device     ${gpu.info.name} (${reason})`);
  console.log(`deno       ${Deno.version.deno}`);
  console.log(
    `policy     ${config.variant} in ${precision}, ${flags.weights} weights, ` +
      `${prefillTokens} tokens of prefix, ${madeUp.maxTokens} of actions`,
  );
  log.info("measuring the device");
  const rates = await measureRates(gpu);
  log.info("loading the policy");
  using engines = await loadEngines(gpu, variant, madeUp, precision, config.seed);
  const { vision, engine, loadMs } = engines;
  const times = await measurePolicy({
    gpu,
    vision,
    engine,
    madeUp,
    repeats: flags.repeats,
    random,
    onPart: (name) => log.info(`measuring ${name}`),
    signal,
  });
  const arithmetic = chunkArithmetic(variant, {
    cameras: CAMERA_NAMES.length,
    prefillTokens,
    decodedTokens: madeUp.maxTokens,
    bits: precision === "float32" ? 32 : precision === "int8" ? 8 : 4,
    headRows: madeUp.model.grammar.vocabSize,
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
    variant: config.variant,
    precision,
    weights: flags.weights,
    cameras: CAMERA_NAMES.length,
    prefillTokens,
    decodeTokens: madeUp.maxTokens,
    repeats: flags.repeats,
    loadMs,
    ...times,
    ...rates,
    ...derived,
    arithmetic,
  }));
}
