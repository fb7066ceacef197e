/**
 * `metadata.json`: what a checkpoint is, how it came to be and which files belong to it.
 *
 * @module
 */

import { z } from "zod";
import {
  ACTION_MODES,
  type ActionMode,
  DECODE_POSITIONS,
  type DecodePositions,
  VALUE_INPUTS,
  type ValueInput,
  type Variant,
  VARIANTS,
} from "../config/config.ts";
import {
  DIALECT_NAMES,
  type DialectName,
  NORMALIZATION_MODES,
  type NormalizationMode,
} from "../tokenizer/dialect.ts";
import { CheckpointError } from "./errors.ts";

/** Version of the checkpoint format that this program writes, and the only one that it reads. */
export const FORMAT_VERSION = 1;

/** What a checkpoint holds: a cloned actor alone, or an actor with its critic. */
export type CheckpointKind = "imitation" | "actor_critic";

/** How the run that a checkpoint comes from began: with the weights it was given, or random ones. */
export const INITIALIZATIONS = ["checkpoint", "random"] as const;

/** One of {@link INITIALIZATIONS}. */
export type Initialization = (typeof INITIALIZATIONS)[number];

/** A value that JSON can hold. */
export type Json = string | number | boolean | null | readonly Json[] | {
  readonly [key: string]: Json;
};

/** The settings that decide the shapes of the weights and the meaning of the tokens. */
export interface ModelMetadata {
  /** Size of the network. */
  readonly variant: Variant;
  /** A: numbers of one action. */
  readonly actionDim: number;
  /** H: control steps of a chunk. */
  readonly horizon: number;
  /** Most text tokens of a sequence. */
  readonly maxTokenLen: number;
  /** Conventions of prompt and normalisation; absent in older files, which means openpi's. */
  readonly dialect?: DialectName;
  /** How states and actions are normalised; absent where the dialect decides. */
  readonly normalization?: NormalizationMode;
  /** What the numbers of an action are; absent means `delta`. */
  readonly actionMode?: ActionMode;
  /** Rotary positions of decoded tokens; absent where dialect and variant decide. */
  readonly decodePositions?: Exclude<DecodePositions, "variant">;
  /**
   * Whether states and actions are in the convention of openpi's base models; absent where whoever
   * loads the checkpoint has to know.
   */
  readonly adaptToPi?: boolean;
  /** Width of the value head's hidden layer; absent when there is none. */
  readonly valueHeadHiddenDim?: number;
  /** Most action tokens that the value head reads; absent when there is none. */
  readonly maxValueSteps?: number;
  /** What the value head reads; absent when there is none. */
  readonly valueInput?: ValueInput;
}

/** How far training had come, from its very beginning and over resumed runs. */
export interface TrainingMetadata {
  /** Task that was practised. */
  readonly task: string;
  /** Policy updates; gradient steps for an imitation checkpoint. */
  readonly updates: number;
  /** Robot control steps trained on. */
  readonly controlSteps: number;
  /** Chunks trained on. */
  readonly chunks: number;
  /** Episodes finished. */
  readonly episodes: number;
  /** Steps of the optimiser, for its bias correction. */
  readonly optimizerSteps: number;
  /** Seed of the run. */
  readonly seed: number;
  /** Latest measurements by name, all finite. */
  readonly metrics: Readonly<Record<string, number>>;
  /** The run's whole configuration, for people; nothing reads it back. */
  readonly config: Readonly<Record<string, Json>>;
}

/** What the writer of a checkpoint says about it. */
export interface CheckpointInfo {
  /** What it holds. */
  readonly kind: CheckpointKind;
  /** Step that names its folder: updates for RL, gradient steps for imitation. */
  readonly step: number;
  /** Version of its weights. */
  readonly policyVersion: number;
  /** Model configuration. */
  readonly model: ModelMetadata;
  /** Training state. */
  readonly training: TrainingMetadata;
  /** Version of the program that wrote it. */
  readonly tendonVersion: string;
  /** When it was written, ISO 8601 in UTC. */
  readonly createdAt: string;
  /** Command that made it. */
  readonly command: string;
  /** How its run began; absent in checkpoints that are older than this field. */
  readonly initialization?: Initialization;
  /** Sentences to show to whoever loads it. */
  readonly notes: readonly string[];
}

/** The whole of `metadata.json`. */
export interface CheckpointMetadata extends CheckpointInfo {
  /** Version of the format. */
  readonly formatVersion: typeof FORMAT_VERSION;
  /** Every other file of the checkpoint: path with forward slashes → size in bytes. */
  readonly files: Readonly<Record<string, number>>;
}

const count = z.int().min(0);
const positive = z.int().min(1);

const json: z.ZodType<Json> = z.lazy(() =>
  z.union([
    z.string(),
    z.number(),
    z.boolean(),
    z.null(),
    z.array(json),
    z.record(z.string(), json),
  ])
);

const model: z.ZodType<ModelMetadata> = z.strictObject({
  variant: z.enum(VARIANTS),
  actionDim: positive,
  horizon: positive,
  maxTokenLen: positive,
  dialect: z.enum(DIALECT_NAMES).optional(),
  normalization: z.enum(NORMALIZATION_MODES).optional(),
  actionMode: z.enum(ACTION_MODES).optional(),
  decodePositions: z.enum(DECODE_POSITIONS).exclude(["variant"]).optional(),
  adaptToPi: z.boolean().optional(),
  valueHeadHiddenDim: positive.optional(),
  maxValueSteps: positive.optional(),
  valueInput: z.enum(VALUE_INPUTS).optional(),
});

const training: z.ZodType<TrainingMetadata> = z.strictObject({
  task: z.string(),
  updates: count,
  controlSteps: count,
  chunks: count,
  episodes: count,
  optimizerSteps: count,
  seed: count,
  metrics: z.record(z.string(), z.number()),
  config: z.record(z.string(), json),
});

/** Paths are spelled alike on every platform and never leave the checkpoint's folder. */
const files = z.record(z.string(), count).refine(
  (sizes) => Object.keys(sizes).every(isSafeRelativePath),
  { error: "every path must stay below the checkpoint's folder" },
);

const metadataSchema: z.ZodType<CheckpointMetadata> = z.strictObject({
  formatVersion: z.literal(FORMAT_VERSION),
  kind: z.enum(["imitation", "actor_critic"]),
  step: count,
  policyVersion: count,
  model,
  training,
  tendonVersion: z.string(),
  createdAt: z.iso.datetime(),
  command: z.string(),
  initialization: z.enum(INITIALIZATIONS).optional(),
  notes: z.array(z.string()),
  files,
});

/**
 * Whether a path stays below the folder it is joined to, on every platform.
 *
 * @param path A path with forward slashes.
 */
export function isSafeRelativePath(path: string): boolean {
  return path.split("/").every((part) =>
    part !== "" && part !== "." && part !== ".." && !/[\\:\0]/.test(part)
  );
}

function describeIssues(error: z.ZodError): string {
  return error.issues
    .map((issue) => `${issue.path.join(".") || "the file"}: ${issue.message}`)
    .join("; ");
}

/**
 * Check the metadata of a checkpoint that is about to be written.
 *
 * @param metadata What would be stored.
 * @returns The text of `metadata.json`.
 * @throws {RangeError} When a field is missing or out of range, or a measurement is not finite.
 */
export function formatMetadata(metadata: CheckpointMetadata): string {
  const parsed = metadataSchema.safeParse(metadata);
  if (!parsed.success) {
    throw new RangeError(`Cannot store checkpoint metadata: ${describeIssues(parsed.error)}.`);
  }
  return `${JSON.stringify(parsed.data, null, 2)}\n`;
}

/**
 * Parse `metadata.json`.
 *
 * @param text Its content.
 * @param path Its name, for errors.
 * @returns The checked metadata.
 * @throws {CheckpointError} When it is not JSON, of another format version, or misses a field.
 */
export function parseMetadata(text: string, path: string): CheckpointMetadata {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(
      `Cannot read ${path}: it is not JSON; copy the checkpoint again or use another one.`,
      { cause },
    );
  }
  const version = z.looseObject({ formatVersion: z.unknown().optional() }).safeParse(value);
  if (version.success && version.data.formatVersion !== FORMAT_VERSION) {
    const found = JSON.stringify(version.data.formatVersion) ?? "none";
    throw new CheckpointError(
      `Cannot read ${path}: its format version is ${found}, but this program reads ` +
        `${FORMAT_VERSION}; use the version of Tendon that wrote it, or write it anew.`,
    );
  }
  let parsed: ReturnType<typeof metadataSchema.safeParse>;
  try {
    parsed = metadataSchema.safeParse(value);
  } catch (cause) {
    // The check of free-form JSON recurses and can exhaust the stack.
    throw new CheckpointError(`Cannot read ${path}: its values are nested too deeply.`, { cause });
  }
  if (!parsed.success) {
    throw new CheckpointError(`Cannot read ${path}: ${describeIssues(parsed.error)}.`);
  }
  return parsed.data;
}
