/**
 * The files that a policy needs beside its weights: two tokenizers and statistics.
 * @module
 */

import { join, relative } from "node:path";
import { assetsFolder, readAssets } from "../checkpoint/checkpoint_files.ts";
import { CheckpointError } from "../checkpoint/errors.ts";
import { lerobotConfigIfGood } from "../checkpoint/lerobot_config.ts";
import { readLerobotStats } from "../checkpoint/lerobot_stats.ts";
import { FastTokenizer } from "../tokenizer/fast.ts";
import { loadLanguageTokenizer } from "../tokenizer/language.ts";
import { formatNormStats, loadNormStats, type NormStats } from "../tokenizer/normalization.ts";
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
 * The statistics of a checkpoint: openpi's `norm_stats.json` below its `assets/` or, where there is
 * none, those that LeRobot saved beside its weights.
 *
 * @param dir A checkpoint's folder or file.
 * @returns The statistics; undefined when there are none.
 * @throws {CheckpointError} When there are several, or LeRobot's are damaged or of another
 *   normalisation than its `config.json` says.
 * @throws {SyntaxError} When a file is not what its name says.
 */
export async function findNormStats(dir: string): Promise<NormStats | undefined> {
  const assets = await assetsFolder(dir);
  const path = assets && await statsPath(assets);
  if (path !== undefined) return await loadNormStats(path);
  const found = await readLerobotStats(dir);
  if (found === undefined) return undefined;
  const said = (await lerobotConfigIfGood(dir))?.normalization;
  if (said !== undefined && found.normalization !== undefined && said !== found.normalization) {
    throw new CheckpointError(
      `Cannot use the statistics of ${dir}: its config.json normalises by ${said}, its ` +
        `policy_preprocessor.json by ${found.normalization}; take both from the same checkpoint.`,
    );
  }
  return found.stats;
}

/** Where tokenizers that are missing come from, as far as LeRobot's configuration tells. */
async function hintsOf(dir: string): Promise<{ fast: string; language: string }> {
  const config = await lerobotConfigIfGood(dir);
  if (config === undefined) return { fast: "", language: "" };
  return {
    fast: ` (from ${config.actionTokenizer} on Hugging Face)`,
    language: ` (from ${config.textTokenizer} on Hugging Face)`,
  };
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
  const stats = await findNormStats(dir);
  const from = await hintsOf(dir);
  const missing: string[] = [];
  for (const name of ["tokenizer.json", "processor_config.json"]) {
    if (!await isFile(join(fast, name))) missing.push(`FAST's ${name} in ${fast}${from.fast}`);
  }
  if (!await isFile(join(language, "tokenizer.json"))) {
    missing.push(`the language tokenizer's tokenizer.json in ${language}${from.language}`);
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
    stats,
  };
}

/**
 * Every file below `assets/` of a checkpoint, to be carried into the next one; statistics that lie
 * elsewhere, as LeRobot's do, are among them as a `norm_stats.json`.
 *
 * @param dir A checkpoint's folder or file.
 * @returns Files by their path below `assets/`.
 * @throws {CheckpointError} When a file is far too large, or LeRobot's statistics are damaged.
 */
export async function readAssetFiles(dir: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const files = await readAssets(dir);
  const isStats = (path: string) => path === STATS_FILE || path.endsWith(`/${STATS_FILE}`);
  if ([...files.keys()].some(isStats)) return files;
  const stats = await findNormStats(dir);
  if (stats === undefined) return files;
  return new Map([
    ...files,
    [ASSET_PATHS.stats, new TextEncoder().encode(formatNormStats(stats))],
  ]);
}
