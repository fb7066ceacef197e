/**
 * Remembers what was measured to be fastest, so that a program starts at once the next time: a small
 * JSON file in the user's cache folder. It is a convenience: where it cannot be read or written, the
 * program goes on without, and says so in a sentence.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { z } from "zod";
import type { Logger } from "../types.ts";
import { MATMUL_FORMATS } from "./bind_matmul.ts";
import type { Tuning } from "./tuner.ts";

/** Most answers that are kept; the oldest go first. */
const MOST_ENTRIES = 32;

const TUNING = z.object({
  matvec: z.object({
    threads: z.union([z.literal(32), z.literal(64), z.literal(128), z.literal(256)]),
    rows: z.union([z.literal(2), z.literal(4), z.literal(8)]),
    usesSubgroups: z.boolean(),
  }),
  matmul: z.enum(MATMUL_FORMATS),
  gigabytesPerSecond: z.number().nonnegative(),
  teraflops: z.number().nonnegative(),
});

const FILE = z.object({ version: z.literal(1), entries: z.record(z.string(), TUNING) });

/** Where answers are kept. */
export interface TuningStore {
  /** The answer for a key; undefined if there is none. */
  read(key: string): Promise<Tuning | undefined>;
  /** Keep an answer, in the place of an older one. */
  write(key: string, tuning: Tuning): Promise<void>;
}

/**
 * The user's cache folder for this project: `TENDON_CACHE_DIR`, else `tendon` in the folder that the
 * system has for such things.
 *
 * @param env The environment.
 * @param os The system, as `Deno.build.os` has it.
 * @returns The folder, which need not exist; undefined if the environment names none.
 */
export function cacheFolder(
  env: { get(name: string): string | undefined },
  os: typeof Deno.build.os,
): string | undefined {
  const own = env.get("TENDON_CACHE_DIR");
  if (own) return own;
  if (os === "windows") {
    const local = env.get("LOCALAPPDATA");
    return local ? join(local, "tendon") : undefined;
  }
  const xdg = env.get("XDG_CACHE_HOME");
  if (xdg) return join(xdg, "tendon");
  const home = env.get("HOME");
  return home ? join(home, ".cache", "tendon") : undefined;
}

/**
 * Keep answers in a file.
 *
 * @param folder Where, such as {@link cacheFolder} says; made when something is written.
 * @param logger Hears when the file cannot be used.
 */
export function openTuningStore(folder: string, logger: Logger): TuningStore {
  const path = join(folder, "tuning.json");
  const read = async (): Promise<Record<string, Tuning>> => {
    let text: string;
    try {
      text = await Deno.readTextFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return {};
      logger.warn(`Cannot read ${path} (${reason(error)}): kernels are tuned anew`);
      return {};
    }
    try {
      return FILE.parse(JSON.parse(text)).entries;
    } catch {
      logger.warn(`Cannot understand ${path}: kernels are tuned anew, and the file is replaced`);
      return {};
    }
  };
  return {
    read: async (key) => {
      const entries = await read();
      return Object.hasOwn(entries, key) ? entries[key] : undefined;
    },
    write: async (key, tuning) => {
      const { [key]: _old, ...others } = await read();
      const entries = [...Object.entries(others), [key, tuning] as const].slice(-MOST_ENTRIES);
      const file = { version: 1, entries: Object.fromEntries(entries) };
      const temporary = `${path}.${crypto.randomUUID()}`;
      try {
        await Deno.mkdir(dirname(path), { recursive: true });
        await Deno.writeTextFile(temporary, `${JSON.stringify(file, null, 2)}\n`);
        await Deno.rename(temporary, path);
      } catch (error) {
        logger.warn(`Cannot write ${path} (${reason(error)}): kernels are tuned at every start`);
        await Deno.remove(temporary).catch(() => {});
      }
    },
  };
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
