/**
 * Opens and reads checkpoints of which one file has been damaged, over and over. What must come out
 * is the values or a {@link CheckpointError}, soon and without filling memory.
 *
 * @module
 */

import { join, relative } from "node:path";
import { seededRandom } from "../random.ts";
import { CheckpointError } from "./errors.ts";
import { mutate, repairChecksums } from "./mutations.ts";
import { openTensorSource } from "./open_source.ts";

/** What {@link fuzzCheckpoint} has seen. */
export interface FuzzReport {
  /** Damaged checkpoints that were read to their end all the same. */
  readonly readable: number;
  /** Damaged checkpoints that were refused with a {@link CheckpointError}. */
  readonly refused: number;
  /** Anything else: the seed of the mutation, the file and what was thrown. */
  readonly crashes: readonly string[];
  /** Longest time for one checkpoint, in milliseconds, the better of two tries. */
  readonly slowestMs: number;
  /** Most bytes of float32 that one checkpoint gave. */
  readonly mostBytes: number;
  /** Most memory of this thread, heap and buffers, above that at the start, in bytes. */
  readonly memoryGrowth: number;
}

/** Options of {@link fuzzCheckpoint}. */
export interface FuzzOptions {
  /** The checkpoint: a file or folder, which stays as it is. */
  readonly path: string;
  /** An empty folder for the damaged copy. */
  readonly workDir: string;
  /** How many mutations. */
  readonly count: number;
  /** Seed of the first one; the others count upwards. */
  readonly seed: number;
  /** Time source, in milliseconds. */
  readonly now: () => number;
}

/** A second try is made above this, since a busy machine makes anything slow. */
const SLOW_MS = 500;

/** Every so often the memory is looked at: it takes longer than a mutation. */
const MEMORY_EVERY = 50;

async function filesBelow(path: string): Promise<string[]> {
  if ((await Deno.stat(path)).isFile) return [path];
  const files: string[] = [];
  for await (const { name } of Deno.readDir(path)) {
    files.push(...await filesBelow(join(path, name)));
  }
  return files.sort();
}

/** Open a checkpoint and read all of it; returns the bytes of float32. */
async function readAll(path: string, maxBlockBytes: number | undefined): Promise<number> {
  using source = await openTensorSource(path);
  let bytes = 0;
  for (const { name } of source.tensors) {
    if (maxBlockBytes === undefined) bytes += (await source.read(name)).data.byteLength;
    else {
      for await (const block of source.blocks(name, maxBlockBytes)) {
        bytes += block.values.byteLength;
      }
    }
  }
  return bytes;
}

/**
 * Damage a checkpoint many times and read each result.
 *
 * @param options What to damage, and how often.
 * @returns Counts; no error is thrown for what a reader does.
 */
export async function fuzzCheckpoint(
  { path, workDir, count, seed, now }: FuzzOptions,
): Promise<FuzzReport> {
  const root = join(workDir, path.split("/").pop() ?? "checkpoint");
  const originals = new Map<string, Uint8Array>();
  for (const file of await filesBelow(path)) {
    const copy = join(root, relative(path, file));
    await Deno.mkdir(join(copy, ".."), { recursive: true });
    originals.set(copy, await Deno.readFile(file));
    await Deno.writeFile(copy, originals.get(copy)!);
  }
  const files = [...originals.keys()];
  const memoryAtStart = memoryInUse();
  let [readable, refused, slowestMs, mostBytes, memoryGrowth] = [0, 0, 0, 0, 0];
  const crashes: string[] = [];
  for (let i = 0; i < count; i++) {
    const random = seededRandom(seed + i);
    const file = files[Math.floor(random() * files.length)];
    let damaged = mutate(originals.get(file)!, random);
    if (random() < 0.25) damaged = mutate(damaged, random);
    if (random() < 0.5) repairChecksums(damaged);
    Deno.writeFileSync(file, damaged);
    // Small blocks take other ways through the readers than large ones.
    const maxBlockBytes = i % 2 === 0 ? undefined : 16;
    const attempt = async () => {
      const start = now();
      let outcome: number | CheckpointError | string;
      try {
        outcome = await readAll(root, maxBlockBytes);
      } catch (error) {
        outcome = error instanceof CheckpointError
          ? error
          : `seed ${seed + i}, ${relative(root, file)}: ${(error as Error)?.stack ?? error}`;
      }
      return { outcome, tookMs: now() - start };
    };
    let { outcome, tookMs } = await attempt();
    if (tookMs > SLOW_MS) tookMs = Math.min(tookMs, (await attempt()).tookMs);
    if (typeof outcome === "string") crashes.push(outcome);
    else if (typeof outcome === "number") {
      readable++;
      mostBytes = Math.max(mostBytes, outcome);
    } else refused++;
    slowestMs = Math.max(slowestMs, tookMs);
    if (i % MEMORY_EVERY === 0) {
      memoryGrowth = Math.max(memoryGrowth, memoryInUse() - memoryAtStart);
    }
    Deno.writeFileSync(file, originals.get(file)!);
  }
  return { readable, refused, crashes, slowestMs, mostBytes, memoryGrowth };
}

/** Of this thread alone: what the process holds is that of other tests, too. */
function memoryInUse(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}
