/**
 * What a run needs, besides its weights, to go on as if it had never stopped; and the files that it lies
 * in beside the optimiser's tensors.
 *
 * @module
 */

import { promisify } from "node:util";
import { gunzipSync, gzip } from "node:zlib";
import { z } from "zod";
import { decodeChunks, encodeChunks } from "../common/wire/chunk_file.ts";
import type { ChunkTransition } from "../common/types.ts";
import { CHUNK_ENDS } from "../common/chunk_end.ts";
import type { EpisodeSums, FinishedEpisode } from "./episode_log.ts";
import type { VersionJump } from "./policy_versions.ts";
import type { RndState } from "./ppo/rnd.ts";
import type { GuardState } from "./ppo/step_guard.ts";
import type { ValueStatistics } from "./ppo/value_normalizer.ts";

/** What the training thread knows besides tensors; plain numbers, which JSON keeps to the last bit. */
export interface TrainerState {
  /** Weight of the KL to the imitation policy, as it was adapted. */
  readonly klWeight: number;
  /** What has happened to steps that were not finite. */
  readonly guard: GuardState;
  /** What returns were like; null where the critic learns them as they are. */
  readonly values: ValueStatistics | null;
  /** Random network distillation without its tensors; null where newness earns nothing. */
  readonly newness: Omit<RndState, "tensors"> | null;
}

/** What has been collected and not been trained on. */
export interface CollectionState {
  /** Chunks that were acknowledged and wait, episode by episode in order. */
  readonly chunks: readonly ChunkTransition[];
  /** Ids of chunks accepted, oldest first: a controller may send them again. */
  readonly acceptedIds: readonly string[];
  /** Episodes in progress: sums of the chunks that came so far, by id. */
  readonly openEpisodes: readonly (readonly [string, EpisodeSums])[];
  /** Episodes finished so far. */
  readonly episodesTotal: number;
  /** Those of them that have finished since the last update, to be counted with the next one. */
  readonly finishedEpisodes: readonly FinishedEpisode[];
}

/** All that is stored beside weights and optimiser. */
export interface TrainState extends CollectionState {
  /** The training thread's part. */
  readonly trainer: TrainerState;
  /** Folder of the imitation policy that the KL is to; empty where there is none. */
  readonly anchor: string;
  /** Versions that earlier lives of the run have lost. */
  readonly versionJumps: readonly VersionJump[];
}

/** File of everything but chunks. */
const STATE_FILE = "state.json";
/** File of the chunks, compressed: pictures of a simulation take a tenth of their room. */
const CHUNKS_FILE = "chunks.bin.gz";
/** The quickest level: it is the repetition that goes. */
const GZIP_LEVEL = 1;
/** More than any buffer of chunks; keeps a damaged file from filling memory. */
const MAX_CHUNK_BYTES = 2 ** 32;

const finite = z.number();
const count = z.int().min(0);
const numbers = z.array(finite);

const trainer = z.object({
  klWeight: finite.min(0),
  guard: z.object({ inARow: count, skipped: count, rollbacks: count }),
  values: z.object({ mean: finite, square: finite, weight: finite }).nullable(),
  newness: z.object({
    steps: count,
    featureMoments: z.object({ count: finite, mean: numbers, squares: numbers }),
    error: z.object({ meanSquare: finite, count: finite }),
  }).nullable(),
});

const sums = z.object({ reward: finite, humanReward: finite, steps: count, humanSteps: count });

const finishedEpisode = sums.extend({
  episodeId: z.string(),
  end: z.enum(CHUNK_ENDS),
  isSuccess: z.boolean(),
  policyVersion: count,
});

const stateFile = z.object({
  trainer,
  anchor: z.string(),
  acceptedIds: z.array(z.string()),
  openEpisodes: z.array(z.tuple([z.string(), sums])),
  episodesTotal: count,
  // Checkpoints of older releases have neither.
  finishedEpisodes: z.array(finishedEpisode).default([]),
  versionJumps: z.array(z.object({ after: count, next: count })).default([]),
});

/**
 * Write down a run's state.
 * @returns Files by name, for a checkpoint's `train_state/`.
 */
export async function encodeTrainState(
  { chunks, ...state }: TrainState,
): Promise<Map<string, Uint8Array>> {
  // In a thread of the runtime's own: the learner's server goes on.
  const compressed = await promisify(gzip)(encodeChunks(chunks), { level: GZIP_LEVEL });
  return new Map<string, Uint8Array>([
    [STATE_FILE, new TextEncoder().encode(JSON.stringify(state))],
    [CHUNKS_FILE, compressed],
  ]);
}

/**
 * Read a run's state back.
 * @param files What {@link encodeTrainState} gave.
 * @param where The checkpoint, for errors.
 * @returns The state; null for a checkpoint that has none, being older or of another program.
 * @throws RangeError if a file is damaged.
 */
export function decodeTrainState(
  files: ReadonlyMap<string, Uint8Array>,
  where: string,
): TrainState | null {
  const text = files.get(STATE_FILE);
  const chunks = files.get(CHUNKS_FILE);
  if (!text || !chunks) return null;
  try {
    const state = stateFile.parse(JSON.parse(new TextDecoder().decode(text)));
    const bytes = gunzipSync(chunks, { maxOutputLength: MAX_CHUNK_BYTES });
    return { ...state, chunks: decodeChunks(bytes) };
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message;
    throw new RangeError(
      `Cannot resume from ${where}: its train_state is damaged (${reason}); copy it again, or start ` +
        "a new run from it with --checkpoint",
      { cause },
    );
  }
}
