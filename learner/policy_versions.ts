/**
 * Policy versions over all lives of a run.
 *
 * A learner that is killed has published versions after its last checkpoint, and controllers hold
 * chunks of them. To number on from the checkpoint would give those numbers to other weights. So the
 * newest number published is kept in a file, and a resumed run goes on above it, as does a new one of
 * the same name: the checkpoint's weights get a number of their own, and the numbers between are lost.
 * Chunks that name them are of weights that the run has gone back on; how old they are cannot be said,
 * and they are refused.
 *
 * @module
 */

import { join } from "node:path";

/** A run's step over lost versions. */
export interface VersionJump {
  /** Version that the checkpoint was written with. */
  readonly after: number;
  /** Version that the same weights have since; those between are lost. */
  readonly next: number;
}

/** Tells which versions are lost and how old the others are. */
export class PolicyVersions {
  /** All jumps, oldest first. */
  readonly jumps: readonly VersionJump[];

  /**
   * Versions without gaps but for these.
   * @param jumps Oldest first.
   */
  constructor(jumps: readonly VersionJump[] = []) {
    this.jumps = jumps;
  }

  /** Whether a version was published and then gone back on. */
  isLost(version: number): boolean {
    return this.jumps.some(({ after, next }) => version > after && version < next);
  }

  /** How many updates lie between a version that is not lost and a newer one. */
  age(version: number, newest: number): number {
    const jumped = this.jumps.filter(({ after }) => version <= after);
    return newest - version - jumped.reduce((sum, { after, next }) => sum + next - after, 0);
  }

  /** The oldest version that is at most so many updates behind; below 0 if there are not as many. */
  oldest(newest: number, maxAge: number): number {
    let version = newest;
    let left = maxAge;
    for (const { after, next } of this.jumps.toReversed()) {
      // The version before a jump is as old as the one after it.
      if (version - left > next) break;
      left -= version - next;
      version = after;
    }
    return version - left;
  }

  /**
   * Go on from a checkpoint.
   * @param checkpointVersion Its version.
   * @param published The newest version that was ever published; null if nobody knows.
   * @returns The version that its weights have from now on, and the versions with the jump to it.
   */
  resume(
    checkpointVersion: number,
    published: number | null,
  ): { readonly policyVersion: number; readonly versions: PolicyVersions } {
    if (published === null || published <= checkpointVersion) {
      return { policyVersion: checkpointVersion, versions: this };
    }
    const jump = { after: checkpointVersion, next: published + 1 };
    return { policyVersion: jump.next, versions: new PolicyVersions([...this.jumps, jump]) };
  }
}

/** The file in an experiment's folder. */
const FILE = "published_version";

/**
 * Read the newest version that an experiment has published.
 * @param folder The experiment's.
 * @returns Null if it has published none, or was run by a release that did not write it down.
 * @throws RangeError if the file holds no version.
 */
export async function readPublishedVersion(folder: string): Promise<number | null> {
  const path = join(folder, FILE);
  let text: string;
  try {
    text = (await Deno.readTextFile(path)).trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  const version = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(version)) {
    throw new RangeError(
      `Cannot number policy versions: ${path} holds ${
        JSON.stringify(text.slice(0, 40))
      } where a policy version was ` +
        "expected; delete it to number versions on from the checkpoint's",
    );
  }
  return version;
}

/**
 * Write down the newest version, before any controller can get it. A killed process leaves this number
 * or the one before.
 * @param folder The experiment's, which must exist.
 * @param version The version.
 */
export async function writePublishedVersion(folder: string, version: number): Promise<void> {
  const path = join(folder, FILE);
  await Deno.writeTextFile(`${path}.new`, `${version}\n`);
  await Deno.rename(`${path}.new`, path);
}
