/**
 * Orbax's `_METADATA`: the tree that was saved, with the exact parts of every name.
 *
 * Orbax joins the parts of a name with dots to make an array's key. The file says what the parts
 * were, which arrays must be there, and whether chunks of zeros were written too. Old checkpoints
 * have none.
 *
 * @module
 */

import { join } from "node:path";
import { z } from "zod";
import { CheckpointError } from "./errors.ts";
import { readSmallFile } from "./file_ranges.ts";

/** Name of the file. */
export const ORBAX_METADATA_FILE = "_METADATA";

const MAX_METADATA_BYTES = 1 << 26;

const schema = z.object({
  tree_metadata: z.record(
    z.string(),
    z.object({
      key_metadata: z.array(z.object({ key: z.union([z.string(), z.number()]) })),
      value_metadata: z.object({
        value_type: z.string(),
        skip_deserialize: z.boolean().default(false),
      }),
    }),
  ),
  store_array_data_equal_to_fill_value: z.boolean().default(false),
});

/** What a checkpoint says about itself. */
export interface OrbaxMetadata {
  /** Parts of a name by the key of its array. */
  readonly parts: ReadonlyMap<string, readonly string[]>;
  /** Keys of the arrays that must be there. */
  readonly required: readonly string[];
  /** Chunks were written even where they hold only zeros, so that a missing one is lost. */
  readonly isComplete: boolean;
}

/** Values that Orbax stores as arrays; others go to the metadata or nowhere. */
const ARRAY_TYPES: readonly string[] = ["jax.Array", "np.ndarray", "scalar"];

/**
 * Read the metadata of a checkpoint.
 *
 * @param dir Its folder.
 * @returns Undefined when it has none.
 * @throws {CheckpointError} When the file is not what Orbax writes.
 */
export async function readOrbaxMetadata(dir: string): Promise<OrbaxMetadata | undefined> {
  const path = join(dir, ORBAX_METADATA_FILE);
  let bytes: Uint8Array;
  try {
    bytes = await readSmallFile(path, MAX_METADATA_BYTES);
  } catch (error) {
    if ((error as Error).cause instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new CheckpointError(`Cannot read ${path}: it is not JSON; the checkpoint is damaged.`, {
      cause,
    });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new CheckpointError(
      `Cannot read ${path}: ${issue.path.join(".") || "its content"} is not what Orbax writes ` +
        `(${issue.message}).`,
    );
  }
  const parts = new Map<string, readonly string[]>();
  const required: string[] = [];
  for (const { key_metadata, value_metadata } of Object.values(parsed.data.tree_metadata)) {
    const names = key_metadata.map(({ key }) => String(key));
    const key = names.join(".");
    parts.set(key, names);
    if (ARRAY_TYPES.includes(value_metadata.value_type) && !value_metadata.skip_deserialize) {
      required.push(key);
    }
  }
  return { parts, required, isComplete: parsed.data.store_array_data_equal_to_fill_value };
}
