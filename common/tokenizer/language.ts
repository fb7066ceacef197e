/**
 * The text side of the policy's input: any Hugging Face `tokenizer.json`.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { Tokenizer } from "@huggingface/tokenizers";
import { withSentencePieceSymbols } from "./sentencepiece_symbols.ts";

/** Turns text into ids of the language vocabulary. */
export interface LanguageTokenizer {
  /** One past the greatest id, added tokens included. */
  readonly vocabSize: number;
  /** Id of the token that begins a sequence. */
  readonly bosId: number;
  /** Id of the token that ends a sequence. */
  readonly eosId: number;
  /**
   * Encode text without adding special tokens.
   * @param text Any text. The names of added tokens in it become their ids; a converted
   * SentencePiece model such as Gemma's takes `<eos>` and its like for plain text, as SentencePiece does.
   * @returns Ids.
   * @throws {RangeError} If a word is not in the vocabulary and there is no unknown token.
   */
  encode(text: string): Int32Array;
  /** SHA-256 of what decides the ids, 64 hexadecimal digits. */
  fingerprint(): string;
}

/** The two files of a Hugging Face tokenizer, parsed. */
export interface LanguageFiles {
  /** `tokenizer.json`. */
  readonly tokenizer: Record<string, unknown>;
  /** `tokenizer_config.json`. */
  readonly config: Record<string, unknown>;
}

/** Names tried where the configuration does not say, Gemma's first. */
const BOS_NAMES = ["<bos>", "<s>", "<|begin_of_text|>"];
const EOS_NAMES = ["<eos>", "</s>", "<|end_of_text|>"];

/**
 * Read a tokenizer's folder.
 *
 * @param dir Folder with `tokenizer.json` and, where the tokenizer has one,
 * `tokenizer_config.json`.
 * @returns The tokenizer.
 * @throws {Error} If `tokenizer.json` is missing.
 * @throws {SyntaxError} If a file is corrupt or of an unknown kind, or BOS or EOS has no id.
 */
export async function loadLanguageTokenizer(dir: string): Promise<LanguageTokenizer> {
  const tokenizer = await readJson(`${dir}/tokenizer.json`);
  if (tokenizer === undefined) {
    throw new Error(
      `Cannot load the language tokenizer: ${dir}/tokenizer.json does not exist; put the ` +
        `tokenizer.json and the tokenizer_config.json that the weights were trained with there ` +
        `(for π0-FAST those of google/paligemma-3b-pt-224 on Hugging Face, which asks you to ` +
        `accept Gemma's licence first)`,
    );
  }
  const config = await readJson(`${dir}/tokenizer_config.json`) ?? {};
  return createLanguageTokenizer({ tokenizer, config }, dir);
}

/**
 * Write a tokenizer's folder.
 *
 * @param dir Folder, made if it is not there.
 * @param files What to write.
 */
export async function saveLanguageFiles(dir: string, files: LanguageFiles): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
  await Deno.writeTextFile(
    `${dir}/tokenizer.json`,
    `${JSON.stringify(files.tokenizer, null, 2)}\n`,
  );
  await Deno.writeTextFile(
    `${dir}/tokenizer_config.json`,
    `${JSON.stringify(files.config, null, 2)}\n`,
  );
}

/**
 * Make a tokenizer of parsed files.
 *
 * @param files The two files.
 * @param source What to call them in errors.
 * @returns The tokenizer.
 * @throws {SyntaxError} If the library does not take them, or BOS or EOS has no id.
 */
export function createLanguageTokenizer(files: LanguageFiles, source: string): LanguageTokenizer {
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(withSentencePieceSymbols(files.tokenizer), withUnknownToken(files));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SyntaxError(
      `Cannot load the language tokenizer: ${source} has no usable tokenizer.json (${reason})`,
      { cause },
    );
  }
  const bosId = specialId(tokenizer, files.config.bos_token, BOS_NAMES, "bos_token", source);
  const eosId = specialId(tokenizer, files.config.eos_token, EOS_NAMES, "eos_token", source);
  let vocabSize = 0;
  for (const id of tokenizer.get_vocab(true).values()) vocabSize = Math.max(vocabSize, id + 1);
  let fingerprint: string | undefined;
  return {
    vocabSize,
    bosId,
    eosId,
    encode(text) {
      const { ids } = tokenizer.encode(text, { add_special_tokens: false });
      const out = new Int32Array(ids.length);
      for (let i = 0; i < out.length; i++) {
        if (ids[i] === undefined) {
          throw new RangeError(
            `Cannot encode ${JSON.stringify(text)}: piece ${i} is not in the vocabulary, which ` +
              `has no unknown token`,
          );
        }
        out[i] = ids[i];
      }
      return out;
    },
    fingerprint() {
      fingerprint ??= createHash("sha256")
        .update(JSON.stringify(["language-1", bosId, eosId, files.tokenizer])).digest("hex");
      return fingerprint;
    },
  };
}

/** The library looks for WordLevel's unknown token in the configuration, its place is the model. */
function withUnknownToken({ tokenizer, config }: LanguageFiles): Record<string, unknown> {
  const { model } = tokenizer;
  if (config.unk_token !== undefined || typeof model !== "object" || model === null) return config;
  return "unk_token" in model && typeof model.unk_token === "string"
    ? { ...config, unk_token: model.unk_token }
    : config;
}

function specialId(
  tokenizer: Tokenizer,
  configured: unknown,
  usual: readonly string[],
  key: string,
  source: string,
): number {
  const content = typeof configured === "object" && configured !== null && "content" in configured
    ? configured.content
    : configured;
  const names = typeof content === "string" ? [content] : usual;
  for (const name of names) {
    const id = tokenizer.token_to_id(name);
    if (id !== undefined) return id;
  }
  throw new SyntaxError(
    `Cannot load the language tokenizer: ${source} has no token ${names.join(" or ")}; name its ` +
      `${key} in ${source}/tokenizer_config.json`,
  );
}

/** A file's JSON object, or undefined if there is no such file. */
async function readJson(path: string): Promise<Record<string, unknown> | undefined> {
  let json: unknown;
  try {
    json = JSON.parse(await Deno.readTextFile(path));
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new SyntaxError(`Cannot load the language tokenizer: ${path} is not JSON`, { cause });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new SyntaxError(`Cannot load the language tokenizer: ${path} holds no JSON object`);
  }
  return json as Record<string, unknown>;
}
