/**
 * What must hold between the fields of a configuration, and the parser that checks it all.
 *
 * @module
 */

import { isLoopback } from "../http/loopback.ts";
import type { Config, ConfigField } from "./config.ts";
import { describeRange } from "./field_spec.ts";
import { checkFields, type FieldProblem } from "./schema.ts";

/** Writes a field's name as the reader knows it, such as `--batch-size` for a command line. */
export type FieldSpelling = (field: string) => string;

interface Rule {
  readonly holds: (config: Config) => boolean;
  readonly sentence: (config: Config, spell: (field: ConfigField) => string) => string;
}

const RULES: readonly Rule[] = [
  {
    holds: (c) => c.batchSize <= c.chunksPerUpdate,
    sentence: (c, spell) =>
      `${
        spell("batchSize")
      } is ${c.batchSize}, but an update has only ${c.chunksPerUpdate} chunks: ` +
      `lower it, or raise ${spell("chunksPerUpdate")}`,
  },
  {
    holds: (c) => c.microBatchSize <= c.batchSize,
    sentence: (c, spell) =>
      `${spell("microBatchSize")} is ${c.microBatchSize}, but a batch has only ${c.batchSize} ` +
      `chunks: lower it, or raise ${spell("batchSize")}`,
  },
  {
    holds: (c) => c.dualClip === 0 || c.dualClip > 1,
    sentence: (c, spell) =>
      `${spell("dualClip")} is ${c.dualClip}, but it takes a number above 1, or 0 for none`,
  },
  {
    holds: (c) => c.clipRangeHigh === 0 || c.clipRangeHigh >= c.clipRange,
    sentence: (c, spell) =>
      `${spell("clipRangeHigh")} is ${c.clipRangeHigh}, which is narrower than ` +
      `${spell("clipRange")}, ${c.clipRange}: raise it, or set it to 0 for the same`,
  },
  {
    holds: (c) => c.trainScope !== "lora" || c.variant.endsWith("_lora"),
    sentence: (c, spell) =>
      `${
        spell("trainScope")
      } is lora, but variant ${c.variant} has no adapters: set it to full, or ` +
      `${spell("variant")} to one that has`,
  },
  {
    holds: (c) => c.imitationKlTarget === 0 || c.klWeight > 0,
    sentence: (c, spell) =>
      `${spell("imitationKlTarget")} is ${c.imitationKlTarget}, but ${
        spell("klWeight")
      } is 0, from ` +
      `where no adaptation leads away: set it to the weight to begin with`,
  },
  {
    holds: (c) => c.demonstrations === "" || c.imitationWeight > 0,
    sentence: (c, spell) =>
      `${spell("demonstrations")} names ${c.demonstrations}, but ${
        spell("imitationWeight")
      } is 0: ` +
      `raise it, or leave the file out`,
  },
  {
    holds: (c) => c.horizon <= c.maxEpisodeSteps,
    sentence: (c, spell) =>
      `${
        spell("horizon")
      } is ${c.horizon}, but an episode ends after ${c.maxEpisodeSteps} control ` +
      `steps: lower it, or raise ${spell("maxEpisodeSteps")}`,
  },
  {
    holds: (c) => Math.max(c.executeSteps, c.executeStepsFinal, c.executeMinSteps) <= c.horizon,
    sentence: (c, spell) =>
      `${spell("executeSteps")}, ${spell("executeStepsFinal")} and ${
        spell("executeMinSteps")
      } are ` +
      `${c.executeSteps}, ${c.executeStepsFinal} and ${c.executeMinSteps}, but a chunk has only ` +
      `${c.horizon} control steps: lower them, or raise ${spell("horizon")}`,
  },
  {
    holds: (c) => c.holdWeights <= c.maxStaleness,
    sentence: (c, spell) =>
      `${spell("holdWeights")} is ${c.holdWeights}, but chunks that are more than ` +
      `${c.maxStaleness} versions old are dropped: lower it, or raise ${spell("maxStaleness")}`,
  },
  {
    holds: (c) => c.updates > 0 || c.totalSteps >= c.chunksPerUpdate * c.horizon,
    sentence: (c, spell) =>
      `${
        spell("totalSteps")
      } is ${c.totalSteps}, but one update of ${c.chunksPerUpdate} chunks of ` +
      `${c.horizon} steps takes ${c.chunksPerUpdate * c.horizon}: raise it, or lower ` +
      `${spell("chunksPerUpdate")} or ${spell("horizon")}`,
  },
  {
    holds: (c) => c.outboxCapacity >= c.numEnvs,
    sentence: (c, spell) =>
      `${
        spell("outboxCapacity")
      } is ${c.outboxCapacity}, but ${c.numEnvs} environments each finish ` +
      `a chunk at once: raise it to at least ${c.numEnvs}, or lower ${spell("numEnvs")}`,
  },
  {
    holds: (c) => c.task !== "transfer_cube" || c.actionDim === 14,
    sentence: (c, spell) =>
      `${
        spell("actionDim")
      } is ${c.actionDim}, but transfer_cube needs both arms: set it to 14, or ` +
      `${spell("task")} to reach`,
  },
  {
    holds: (c) => c.decoder !== "engine" || c.device === "webgpu" || c.device === "auto",
    sentence: (c, spell) =>
      `${spell("decoder")} is engine, which runs on a GPU, but ${
        spell("device")
      } is ${c.device}: ` +
      `set it to webgpu, or ${spell("decoder")} to tfjs`,
  },
  {
    holds: (c) => c.constrainedDecoding || c.decoder !== "engine",
    sentence: (_, spell) =>
      `${spell("constrainedDecoding")} is off, but ${spell("decoder")} is engine, which always ` +
      `constrains: set it to tfjs`,
  },
  {
    holds: (c) => !(c.resume && c.checkpoint !== ""),
    sentence: (c, spell) =>
      `${spell("resume")} continues the newest checkpoint of ${c.expName}, but ` +
      `${spell("checkpoint")} names ${c.checkpoint}: give only one of the two`,
  },
  {
    holds: (c) => isLoopback(c.host) || c.tokenFile !== "",
    sentence: (c, spell) =>
      `${
        spell("host")
      } is ${c.host}, which other machines can reach, and no token is set: name a ` +
      `file that holds one with ${spell("tokenFile")}, or bind to 127.0.0.1`,
  },
];

/**
 * Say what is wrong with one field.
 *
 * @param problem What {@link checkFields} found.
 * @param spell How to write field names.
 * @returns A clause such as `--gamma is 1.5, but it takes a number at least 0 and at most 1`.
 */
function describeProblem({ field, value, spec }: FieldProblem, spell: FieldSpelling): string {
  if (spec === undefined) return `${spell(field)} is not a field of the configuration: remove it`;
  const range = describeRange(spec);
  const isMeasured = spec.unit !== "" && (spec.kind === "integer" || spec.kind === "number");
  const unit = isMeasured ? ` (${spec.unit})` : "";
  if (value === undefined) return `${spell(field)} is missing: set it to ${range}${unit}`;
  const shown = typeof value === "number" ? String(value) : JSON.stringify(value);
  return `${spell(field)} is ${shown}, but it takes ${range}${unit}`;
}

/**
 * Check a whole configuration: every field by itself, then what must hold between fields.
 *
 * @param input Anything, such as parsed JSON or a preset with some fields replaced.
 * @param spell How errors write field names; as they are by default.
 * @returns The configuration.
 * @throws {RangeError} One sentence that names every value that is wrong, its bound and the remedy.
 */
export function parseConfig(input: unknown, spell: FieldSpelling = (field) => field): Config {
  const { config, problems } = checkFields(input);
  const clauses = config === undefined
    ? problems.map((problem) => describeProblem(problem, spell))
    : RULES.filter((rule) => !rule.holds(config)).map((rule) => rule.sentence(config, spell));
  if (config === undefined || clauses.length > 0) {
    throw new RangeError(`Invalid configuration: ${clauses.join("; ")}.`);
  }
  return config;
}
