/**
 * Loads a policy or, where that is allowed, puts a random one in its place and says so loudly.
 * @module
 */

import { CheckpointError, CheckpointMismatch } from "../checkpoint/errors.ts";
import { buildPolicy, type CriticOptions, type LoadedPolicy, loadPolicy } from "./load.ts";
import { loadAssets } from "./load_assets.ts";
import type { WantedModel } from "./load_description.ts";
import { isLoadFailure, type LoadFailureAction, randomPolicyWarning } from "./load_failure.ts";
import { randomCheckpoint } from "./load_weights.ts";

/**
 * Load a policy, or draw one when that fails and may be.
 *
 * @param dir Folder of the checkpoint.
 * @param options The model and how to make a critic.
 * @param onFailure What to do when it cannot be loaded.
 * @returns The policy; `notes` begin with a warning of several lines if it is random.
 * @throws {CheckpointError} When it cannot be loaded and no random policy may or can take its place:
 *   its tokenizers and statistics are needed all the same.
 */
export async function loadOrRandom(
  dir: string,
  options: CriticOptions & WantedModel,
  onFailure: LoadFailureAction,
): Promise<LoadedPolicy> {
  try {
    return await loadPolicy(dir, options);
  } catch (error) {
    // Flags that contradict the checkpoint are for the user to set right.
    const isOwnFault = error instanceof CheckpointMismatch;
    if (!isLoadFailure(error) || onFailure === "abort" || isOwnFault) throw error;
    try {
      await loadAssets(dir);
    } catch (cause) {
      if (cause instanceof CheckpointError && cause.message === error.message) throw error;
      throw new CheckpointError(
        `${
          error.message.replace(/[.;]$/, "")
        }. A random policy cannot take its place, since it needs ` +
          `the tokenizers and statistics too: ${(cause as Error).message}`,
        { cause: error },
      );
    }
    const checkpoint = await randomCheckpoint(dir, options, options.normal);
    return {
      policy: await buildPolicy(dir, checkpoint, options),
      checkpoint,
      notes: [randomPolicyWarning(dir, error.message)],
      initialization: "random",
    };
  }
}
