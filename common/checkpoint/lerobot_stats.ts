/**
 * LeRobot's normalisation statistics: the state of the normaliser in the pipeline that it saves beside
 * the weights as `policy_preprocessor.json` (`processor/pipeline.py`, `normalize_processor.py`).
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import { z } from "zod";
import type { NormalizationMode } from "../tokenizer/dialect.ts";
import { type FieldStats, type NormStats, parseFieldStats } from "../tokenizer/normalization.ts";
import { CheckpointError } from "./errors.ts";
import { normalizationOf, parseJson, readBeside } from "./lerobot_config.ts";
import { openSafetensorsSource } from "./safetensors_source.ts";
import type { TensorSource } from "./tensor_source.ts";

/** What LeRobot calls the pipeline in front of a policy. */
export const LEROBOT_PIPELINE_FILE = "policy_preprocessor.json";

const NORMALIZER = "normalizer_processor";
/** LeRobot's default of what is added to a deviation, and what `normalize()` adds. */
const EPSILON = 1e-8;
/** Keys of LeRobot's datasets for what {@link NormStats} has. */
const KEYS = { state: "observation.state", actions: "action" } as const;
const STATISTICS = ["mean", "std", "q01", "q99"] as const;

const pipelineSchema = z.looseObject({
  steps: z.array(z.looseObject({
    registry_name: z.string().optional(),
    config: z.looseObject({}).optional(),
    state_file: z.string().optional(),
  })),
});
const normalizerSchema = z.looseObject({
  eps: z.number().default(EPSILON),
  norm_map: z.record(z.string(), z.string()).optional(),
});

/** Statistics as LeRobot has them. */
export interface LerobotStats {
  /** The file that they are from. */
  readonly path: string;
  /** The numbers; no percentiles where LeRobot computed none. */
  readonly stats: NormStats;
  /** How the pipeline uses them; undefined where it does not say. */
  readonly normalization: NormalizationMode | undefined;
}

async function readField(source: TensorSource, key: string): Promise<FieldStats> {
  const found: Record<string, number[]> = {};
  for (const statistic of STATISTICS) {
    const name = `${key}.${statistic}`;
    const stored = source.tensors.find((tensor) => tensor.name === name);
    if (stored === undefined) continue;
    if (stored.shape.length !== 1) {
      throw new CheckpointError(
        `Cannot use the statistics in ${source.path}: ${name} has the shape ` +
          `[${stored.shape.join(", ")}], but it must be a list of numbers.`,
      );
    }
    found[statistic] = [...(await source.read(name)).data];
  }
  const missing = ["mean", "std"].filter((statistic) => found[statistic] === undefined);
  if (missing.length > 0) {
    throw new CheckpointError(
      `Cannot use the statistics in ${source.path}: ${key} has no ${missing.join(" and no ")}.`,
    );
  }
  const parsed = parseFieldStats(found);
  if ("stats" in parsed) return parsed.stats;
  throw new CheckpointError(
    `Cannot use the statistics in ${source.path}: those of ${key} are wrong ` +
      `(${parsed.place === "" ? "" : `${parsed.place}: `}${parsed.fault}).`,
  );
}

/** The normaliser of a pipeline: its settings and the file of its state. */
function normalizerOf(bytes: Uint8Array, path: string) {
  const parsed = pipelineSchema.safeParse(parseJson(bytes, path));
  const steps = parsed.data?.steps.filter((step) => step.registry_name === NORMALIZER) ?? [];
  const settings = normalizerSchema.safeParse(steps[0]?.config ?? {});
  if (!parsed.success || steps.length !== 1 || !settings.success) {
    throw new CheckpointError(
      `Cannot use ${path}: it must be a pipeline of LeRobot's with one step ${NORMALIZER}, but ` +
        `${
          !parsed.success
            ? "it has no list of steps"
            : steps.length !== 1
            ? `it has ${steps.length}`
            : "that step's config is damaged"
        }.`,
    );
  }
  const { state_file: file } = steps[0];
  if (file === undefined || basename(file) !== file || !file.endsWith(".safetensors")) {
    throw new CheckpointError(
      `Cannot use ${path}: the state_file of its ${NORMALIZER} is ` +
        `${file === undefined ? "not given" : JSON.stringify(file)}, but it must name a ` +
        ".safetensors file beside it; save the policy with its statistics.",
    );
  }
  const { eps, norm_map: mapping } = settings.data;
  if (eps !== EPSILON) {
    throw new CheckpointError(
      `Cannot use ${path}: its ${NORMALIZER} adds ${eps} to deviations, but Tendon adds ${EPSILON}.`,
    );
  }
  return {
    file: join(dirname(path), file),
    normalization: mapping && normalizationOf(mapping, path),
  };
}

/**
 * Read the statistics that LeRobot saved beside the weights.
 *
 * @param path A checkpoint's file or folder.
 * @returns The statistics; undefined when there is no `policy_preprocessor.json`.
 * @throws {CheckpointError} One sentence with the file, when it or the file of its normaliser is
 *   missing or damaged, or normalises in a way that Tendon does not have.
 */
export async function readLerobotStats(path: string): Promise<LerobotStats | undefined> {
  const pipeline = await readBeside(path, LEROBOT_PIPELINE_FILE);
  if (pipeline === undefined) return undefined;
  const { file, normalization } = normalizerOf(pipeline.bytes, pipeline.path);
  using source = await openSafetensorsSource(file);
  const stats = {
    state: await readField(source, KEYS.state),
    actions: await readField(source, KEYS.actions),
  };
  return { path: file, stats, normalization };
}
