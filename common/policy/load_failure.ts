/**
 * What a program does when its checkpoint cannot be loaded.
 * @module
 */

import { CheckpointError, CheckpointMismatch } from "../checkpoint/errors.ts";
import type { Config, OnLoadFailure } from "../config/config.ts";
import { type CheckpointChoice, chooseCheckpoint } from "./choose_checkpoint.ts";
import { foreignMetadata, unreadableFacts } from "./load_description.ts";

/** What the program drives. */
export type RobotKind = "simulated" | "real";

/** Go on with random weights, or end. */
export type LoadFailureAction = "random" | "abort";

/**
 * Decide what to do when a checkpoint cannot be loaded. A real robot never moves by random weights.
 *
 * @param robot What the program drives.
 * @param flag `--on-load-failure`; `auto` is random in simulation and abort for a real robot.
 * @returns What to do.
 * @throws {RangeError} When random weights are asked for on a real robot.
 */
export function loadFailurePolicy(robot: RobotKind, flag: OnLoadFailure): LoadFailureAction {
  if (robot === "simulated") return flag === "auto" ? "random" : flag;
  if (flag === "random") {
    throw new RangeError(
      "Cannot use --on-load-failure random with a real robot: it must not move by random weights; " +
        "use --on-load-failure abort",
    );
  }
  return "abort";
}

/**
 * The warning of a program that goes on with random weights.
 *
 * @param path The checkpoint.
 * @param reason Why it could not be loaded.
 * @returns Several lines.
 */
export function randomPolicyWarning(path: string, reason: string): string {
  return [
    "################ RANDOM POLICY ################",
    `The checkpoint ${path} could not be loaded:`,
    reason,
    "The run goes on with RANDOM weights: nothing that this policy does comes from the checkpoint.",
    "To end the program instead, use --on-load-failure abort.",
    "###############################################",
  ].join("\n");
}

/**
 * Whether an error tells of a bad checkpoint; anything else is a fault of the program.
 *
 * @param error What was thrown.
 */
export function isLoadFailure(error: unknown): error is Error {
  return error instanceof CheckpointError || error instanceof RangeError ||
    error instanceof SyntaxError;
}

/**
 * As {@link chooseCheckpoint} does; a damaged checkpoint that was named is chosen all the same where a
 * random policy may stand in for it. Resuming never ends in a random policy.
 *
 * @param config The configuration.
 * @param onFailure What to do when the named checkpoint is damaged.
 * @throws {CheckpointError} One sentence, when there is none, or it does not go with the configuration.
 */
export async function chooseOrRandom(
  config: Config,
  onFailure: LoadFailureAction,
): Promise<CheckpointChoice> {
  try {
    return await chooseCheckpoint(config);
  } catch (error) {
    // Flags that contradict the checkpoint are for the user to set right.
    const mayFallBack = onFailure === "random" && !config.resume && config.checkpoint !== "";
    if (!isLoadFailure(error) || !mayFallBack || error instanceof CheckpointMismatch) throw error;
    const facts = await unreadableFacts(config.checkpoint);
    const metadata = foreignMetadata(config.checkpoint, facts, config);
    return { path: config.checkpoint, metadata, reason: "starting beside", notes: [] };
  }
}
