/**
 * The files that a policy needs beside its weights: two tokenizers and statistics.
 * @module
 */

import { join, relative } from "node:path";
import { assetsFolder } from "../checkpoint/checkpoint_files.ts";
import { CheckpointError } from "../checkpoint/errors.ts";
import { FastTokenizer } from "../tokenizer/fast.ts";
import { loadLanguageTokenizer } from "../tokenizer/language.ts";
import { loadNormStats } from "../tokenizer/normalization.ts";
import type { PolicyAssets } from "./actor_critic.ts";

/** Paths of the policy's assets below `assets/` of a checkpoint. */
export const ASSET_PATHS = {
  /** FAST's processor. */
  fast: "fast",
  /** The language tokenizer. */
  language: "language",
  /** openpi's normalisation statistics. */
  stats: "aloha/norm_stats.json",
} as const;

const STATS_FILE = "norm_stats.json";
/** openpi's asset ids have at most one slash. */
const STATS_DEPTH = 2;

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    throw error;
  }
}

async function findStats(folder: string, depth: number): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (name === STATS_FILE) found.push(path);
    else if (isDirectory && depth > 0) found.push(...await findStats(path, depth - 1));
  }
  return found.sort();
}

/** Where the statistics lie: under ALOHA's name, or the only ones under any other asset id. */
async function statsPath(assets: string): Promise<string | undefined> {
  const own = join(assets, ASSET_PATHS.stats);
  if (await isFile(own)) return own;
  const found = await findStats(assets, STATS_DEPTH);
  if (found.length > 1) {
    throw new CheckpointError(
      `Cannot choose normalisation statistics: ${assets} has ` +
        `${
          found.map((path) => relative(assets, path)).join(", ")
        }; copy the ones of your robot to ` +
        `${own}.`,
    );
  }
  return found[0];
}

/**
 * Read the assets of a checkpoint of any origin.
 *
 * @param dir A checkpoint's folder; the files are below its `assets/`.
 * @throws {CheckpointError} One sentence that says which files to put where, when some are missing.
 * @throws {SyntaxError} When a file is not what its name says.
 */
export async function loadAssets(dir: string): Promise<PolicyAssets> {
  const assets = await assetsFolder(dir) ?? join(dir, "assets");
  const fast = join(assets, ASSET_PATHS.fast);
  const language = join(assets, ASSET_PATHS.language);
  const stats = await assetsFolder(dir) === undefined ? undefined : await statsPath(assets);
  const missing: string[] = [];
  for (const name of ["tokenizer.json", "processor_config.json"]) {
    if (!await isFile(join(fast, name))) missing.push(`FAST's ${name} in ${fast}`);
  }
  if (!await isFile(join(language, "tokenizer.json"))) {
    missing.push(`the language tokenizer's tokenizer.json in ${language}`);
  }
  if (stats === undefined) {
    missing.push(`the normalisation statistics as ${join(assets, ASSET_PATHS.stats)}`);
  }
  if (stats === undefined || missing.length > 0) {
    throw new CheckpointError(
      `Cannot use checkpoint ${dir}: files beside its weights are missing; put ` +
        `${missing.join(", ")}.`,
    );
  }
  return {
    fast: await FastTokenizer.load(fast),
    language: await loadLanguageTokenizer(language),
    stats: await loadNormStats(stats),
  };
}
