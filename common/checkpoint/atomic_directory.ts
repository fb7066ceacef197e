/**
 * Writes a directory so that it is there whole or not at all, whenever the process dies.
 *
 * The files are written into a hidden sibling, `.<name>.partial-<uuid>`, and reach the disk before
 * one rename gives the sibling its name. A directory that stands in the way is first renamed to
 * `.<name>.replaced-<uuid>`; should the process die between the two renames, the next write puts it
 * back. One process at a time may write into a parent directory.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";

const LEFTOVER = /^\.(.+)\.(partial|replaced)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Leftover look-alikes that a write of this very process is working on. */
const inUse = new Set<string>();

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Make a rename or a new name inside a directory survive a loss of power. */
async function syncDirectory(path: string): Promise<void> {
  if (Deno.build.os === "windows") return; // directories cannot be opened there
  using directory = await Deno.open(path, { read: true });
  await directory.sync();
}

async function syncTree(path: string): Promise<void> {
  for await (const entry of Deno.readDir(path)) {
    if (entry.isDirectory) await syncTree(join(path, entry.name));
  }
  await syncDirectory(path);
}

/**
 * Remove what writes that died have left in a directory, and put back what they had moved away.
 *
 * @param parent The directory that holds the directories written.
 * @returns Names of the leftovers that were dealt with.
 */
export async function sweepLeftovers(parent: string): Promise<string[]> {
  const leftovers: string[] = [];
  for await (const { name } of Deno.readDir(parent)) {
    if (LEFTOVER.test(name) && !inUse.has(join(parent, name))) leftovers.push(name);
  }
  for (const leftover of leftovers) {
    const [, name, kind] = LEFTOVER.exec(leftover) ?? [];
    const path = join(parent, leftover);
    if (kind === "replaced" && !(await exists(join(parent, name)))) {
      await Deno.rename(path, join(parent, name));
    } else {
      await Deno.remove(path, { recursive: true });
    }
  }
  return leftovers;
}

/**
 * Write a file inside a directory that is being filled, and make sure that it reaches the disk.
 *
 * @param path The file, which must not exist; missing folders above it are made.
 * @param bytes Its content.
 */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  await Deno.mkdir(dirname(path), { recursive: true });
  using file = await Deno.open(path, { write: true, createNew: true });
  let written = 0;
  while (written < bytes.length) written += await file.write(bytes.subarray(written));
  await file.sync();
}

/**
 * Write a directory that appears whole or not at all, in place of one of that name if there is one.
 *
 * @param path The directory.
 * @param fill Writes and syncs the files into the given temporary directory.
 * @throws What `fill` throws; nothing is left behind then.
 */
export async function writeDirectory(
  path: string,
  fill: (temporary: string) => Promise<void>,
): Promise<void> {
  const parent = dirname(path);
  const hidden = (kind: string) =>
    join(parent, `.${basename(path)}.${kind}-${crypto.randomUUID()}`);
  await Deno.mkdir(parent, { recursive: true });
  await sweepLeftovers(parent);

  const temporary = hidden("partial");
  const replaced = hidden("replaced");
  inUse.add(temporary).add(replaced);
  try {
    await Deno.mkdir(temporary);
    await fill(temporary);
    await syncTree(temporary);
    if (await exists(path)) await Deno.rename(path, replaced);
    await Deno.rename(temporary, path);
    await syncDirectory(parent);
    if (await exists(replaced)) await Deno.remove(replaced, { recursive: true });
  } catch (error) {
    if (await exists(temporary)) await Deno.remove(temporary, { recursive: true });
    if (await exists(replaced) && !(await exists(path))) await Deno.rename(replaced, path);
    throw error;
  } finally {
    inUse.delete(temporary);
    inUse.delete(replaced);
  }
}
