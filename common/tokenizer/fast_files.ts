/**
 * The files of a FAST tokenizer, as the processor of physical-intelligence/fast lays them out:
 * `tokenizer.json` (the BPE), `processor_config.json` (scale, least coefficient, shape) and
 * `tokenizer_config.json` (how Hugging Face's loader is to treat the BPE). Version 5 of
 * transformers saves the first and the last in a folder `bpe_tokenizer`, and reads both layouts.
 *
 * @module
 */

import { z } from "zod";
import { ByteLevelBpe } from "./bpe.ts";
import { MAX_ALPHABET_SIZE } from "./byte_level.ts";

/** What the files hold. */
export interface FastFiles {
  /** The BPE over coefficient characters. */
  readonly bpe: ByteLevelBpe;
  /** Factor between coefficients and integers. */
  readonly scale: number;
  /** The integer that character 0 stands for. */
  readonly minToken: number;
  /** Number of characters that stand for coefficients. */
  readonly alphabetSize: number;
  /** H, or null where the files leave it open. */
  readonly horizon: number | null;
  /** A, or null where the files leave it open. */
  readonly actionDim: number | null;
  /** The size that training aimed at; the BPE may have fewer tokens. */
  readonly vocabSize: number;
}

const processorSchema = z.object({
  processor_class: z.literal("UniversalActionProcessor").optional(),
  scale: z.number().positive(),
  vocab_size: z.int().positive(),
  min_token: z.int(),
  time_horizon: z.int().positive().nullish(),
  action_dim: z.int().positive().nullish(),
});

/** The one key of ours. It stands here since Hugging Face's loader ignores keys in this file. */
const tokenizerConfigSchema = z.object({
  fast_alphabet_size: z.int().positive().max(MAX_ALPHABET_SIZE).optional(),
});

/**
 * Read a tokenizer's folder.
 *
 * @param dir The folder.
 * @returns What its files hold.
 * @throws {Error} If `tokenizer.json` or `processor_config.json` cannot be read.
 * @throws {SyntaxError} If a file is not what its name says.
 */
export async function readFastFiles(dir: string): Promise<FastFiles> {
  const hasFolder = await isFile(`${dir}/bpe_tokenizer/tokenizer.json`) &&
    !await isFile(`${dir}/tokenizer.json`);
  const bpeDir = hasFolder ? `${dir}/bpe_tokenizer` : dir;
  const bpePath = `${bpeDir}/tokenizer.json`;
  const bpe = ByteLevelBpe.fromJson(await readText(bpePath), bpePath);
  const processorPath = `${dir}/processor_config.json`;
  const processor = parse(processorPath, await readText(processorPath), processorSchema);
  const configPath = `${bpeDir}/tokenizer_config.json`;
  const configText = await readText(configPath, "{}");
  const config = parse(configPath, configText, tokenizerConfigSchema);
  const run = rawAlphabetSize(bpe);
  const alphabetSize = config.fast_alphabet_size ?? run;
  if (alphabetSize < 1 || alphabetSize > run) {
    throw new SyntaxError(
      `Cannot read tokenizer ${bpePath}: the alphabet should have ${alphabetSize} characters ` +
        `from 0 on, the vocabulary has the first ${run}`,
    );
  }
  return {
    bpe,
    scale: processor.scale,
    minToken: processor.min_token,
    alphabetSize,
    horizon: processor.time_horizon ?? null,
    actionDim: processor.action_dim ?? null,
    vocabSize: processor.vocab_size,
  };
}

/**
 * Write a tokenizer's folder.
 *
 * @param dir The folder, made if it is not there.
 * @param files What to write.
 */
export async function writeFastFiles(dir: string, files: FastFiles): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
  await Deno.writeTextFile(`${dir}/tokenizer.json`, files.bpe.toJson());
  await writeJson(`${dir}/processor_config.json`, {
    action_dim: files.actionDim,
    // The name under which Hugging Face finds the processor's code.
    auto_map: {
      AutoProcessor:
        "physical-intelligence/fast--processing_action_tokenizer.UniversalActionProcessor",
    },
    min_token: files.minToken,
    processor_class: "UniversalActionProcessor",
    scale: files.scale,
    time_horizon: files.horizon,
    vocab_size: files.vocabSize,
  });
  await writeJson(`${dir}/tokenizer_config.json`, {
    clean_up_tokenization_spaces: false, // cleaning up would delete coefficients
    fast_alphabet_size: files.alphabetSize,
    processor_class: "UniversalActionProcessor",
    tokenizer_class: "PreTrainedTokenizerFast",
  });
}

/**
 * Length of the run chr(0), chr(1), … that the vocabulary begins with. The processor puts its
 * whole alphabet there; just below 196 and 324 characters the byte alphabet can lengthen the run
 * by accident, which is why {@link writeFastFiles} states the size.
 */
function rawAlphabetSize(bpe: ByteLevelBpe): number {
  const tokens = new Set(bpe.tokens);
  let size = 0;
  while (size < MAX_ALPHABET_SIZE && tokens.has(String.fromCharCode(size))) size++;
  return size;
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function readText(path: string, fallback?: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    if (fallback !== undefined) return fallback;
    throw new Error(
      `Cannot load the FAST tokenizer: ${path} does not exist; put tokenizer.json and ` +
        `processor_config.json there, as physical-intelligence/fast on Hugging Face or your own ` +
        `fit has them`,
      { cause },
    );
  }
}

function parse<T>(path: string, text: string, schema: z.ZodType<T>): T {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new SyntaxError(`Cannot read ${path}: the file is not JSON`, { cause });
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new SyntaxError(
    `Cannot read ${path}: ${issue.path.join(".") || "the file"} is wrong (${issue.message})`,
    { cause: result.error },
  );
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await Deno.writeTextFile(path, `${JSON.stringify(value, null, 2)}\n`);
}
