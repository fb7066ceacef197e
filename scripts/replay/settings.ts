/**
 * The command line of `deno task replay`.
 *
 * @module
 */

import type { OwnFlags, OwnValues } from "../../common/cli/command.ts";
import { ARMS_FLAGS, ROBOT_KINDS } from "../../controller/aloha/flags.ts";
import type { TaskName } from "../../controller/sim/task_names.ts";
import { REPLAY_SPEED } from "../../controller/step_log/replay_plan.ts";
import { parseSubcommand } from "../checkpoint/arguments.ts";

/** Flags of the program. */
export const REPLAY_FLAGS = {
  summary: {
    kind: "boolean",
    default: false,
    description: "Print what the log tells: times, holds, clamps, tracking errors, events.",
  },
  jerk: {
    kind: "boolean",
    default: false,
    description: "Print how smooth the commands are, at the boundaries of chunks and elsewhere.",
  },
  check: {
    kind: "boolean",
    default: false,
    description:
      "Check that arms may make the log's motion, and print how long it takes; nothing " +
      "moves.",
  },
  robot: {
    kind: "choice",
    choices: ROBOT_KINDS,
    default: "simulated",
    description: "Where the log is played: in the simulation; on emulated servos behind the real " +
      "drivers; or on real arms, after a person's agreement.",
  },
  speed: {
    kind: "number",
    default: REPLAY_SPEED.default,
    minimum: REPLAY_SPEED.min,
    maximum: REPLAY_SPEED.max,
    description: "Share of the recorded speed, on arms and for --check.",
  },
  yes: {
    kind: "boolean",
    default: false,
    description: "Agree beforehand that real arms move, so that no Enter is waited for.",
  },
  frames: {
    kind: "string",
    default: "",
    unit: "path",
    description: "Also write pictures of the simulation's three cameras into this folder, as PNG.",
  },
  every: {
    kind: "integer",
    default: 10,
    minimum: 1,
    maximum: 100_000,
    unit: "cycles",
    description: "From one picture to the next.",
  },
  size: {
    kind: "integer",
    default: 224,
    minimum: 1,
    maximum: 4096,
    unit: "pixels",
    description: "Width and height of a picture.",
  },
  json: {
    kind: "boolean",
    default: false,
    description: "Print one JSON object instead of tables.",
  },
  ...ARMS_FLAGS,
} as const satisfies OwnFlags;

/** What a command line asks for. */
export interface ReplaySettings extends Omit<OwnValues<typeof REPLAY_FLAGS>, "frames"> {
  /** The log. */
  readonly path: string;
  /** Where pictures go; null for none. */
  readonly frames: string | null;
  /** Whose scene to show; null for the log's. */
  readonly task: TaskName | null;
}

/** A command line that has been read. */
export type ParsedReplay =
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "run"; readonly settings: ReplaySettings };

/**
 * Parse a command line.
 *
 * @param args The arguments after the program's name.
 * @returns What is asked for, or the help.
 * @throws {UsageError} With one sentence that says what is wrong.
 */
export function parseReplaySettings(args: readonly string[]): ParsedReplay {
  const parsed = parseSubcommand({
    name: "deno task replay LOG",
    summary:
      "Play the commands of a step log on the simulation or on arms. With --summary, --jerk or " +
      "--check its content is told instead, unless --robot or --frames is given, too.",
    paths: ["LOG"],
    // --task shows another scene than that of the log.
    fields: ["task"],
    flags: REPLAY_FLAGS,
  }, args.filter((argument) => argument !== "--"));
  if (parsed.kind === "help") return parsed;
  const { flags, paths: [path], config, given } = parsed;
  return {
    kind: "run",
    settings: {
      ...flags,
      path,
      frames: flags.frames === "" ? null : flags.frames,
      task: given.has("task") ? config.task : null,
    },
  };
}
