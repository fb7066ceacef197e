/**
 * The command line of `deno task replay`.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { UsageError } from "../../common/cli/flags.ts";
import { REPLAY_SPEED } from "../../controller/step_log/replay_plan.ts";
import { parseTaskName, TASK_NAMES, type TaskName } from "../../controller/sim/task_names.ts";

/** The text of `--help`. */
export const HELP: string =
  `Play the commands of a step log on the simulation, or tell what is in it.

Usage: deno task replay LOG [flags]

  --summary      print what the log tells: times, holds, clamps, tracking errors, events
  --jerk         print how smooth the commands are, at the boundaries of chunks and elsewhere
  --check        check that arms may make the log's motion, and print how long it takes; nothing moves
  --speed N      share of the recorded speed for --check, 0.05–1 (default 0.25)
  --frames DIR   also write pictures of the three cameras into DIR, as PNG
  --every N      cycles from one picture to the next, 1–100000 (default 10)
  --size N       width and height of a picture, 1–4096 pixels (default 224)
  --task NAME    whose scene to show: ${TASK_NAMES.join(" or ")} (default: the log's, or reach)
  --json         print one JSON object instead of tables
  --help         show this text

Without --summary, --jerk and --check the log is played on the simulation.
`;

/** What a command line asks for. */
export interface ReplaySettings {
  /** The log. */
  readonly path: string;
  /** Print the summary. */
  readonly summary: boolean;
  /** Print the jerk. */
  readonly jerk: boolean;
  /** Check the motion for arms. */
  readonly check: boolean;
  /** Share of the recorded speed at which arms would make it. */
  readonly speed: number;
  /** Where pictures go; null for none. */
  readonly frames: string | null;
  /** Cycles from one picture to the next. */
  readonly every: number;
  /** Width and height of a picture, in pixels. */
  readonly size: number;
  /** Whose scene to show; null for the log's. */
  readonly task: TaskName | null;
  /** Print JSON. */
  readonly json: boolean;
}

/**
 * Parse a command line.
 *
 * @param args The arguments after the program's name.
 * @returns What is asked for; null for the help.
 * @throws {UsageError} With one sentence that says what is wrong.
 */
export function parseReplaySettings(args: readonly string[]): ReplaySettings | null {
  try {
    const { values, positionals } = parseArgs({
      args: args.filter((argument) => argument !== "--"),
      allowPositionals: true,
      options: {
        summary: { type: "boolean", default: false },
        jerk: { type: "boolean", default: false },
        check: { type: "boolean", default: false },
        speed: { type: "string", default: String(REPLAY_SPEED.default) },
        frames: { type: "string" },
        every: { type: "string", default: "10" },
        size: { type: "string", default: "224" },
        task: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) return null;
    if (positionals.length !== 1) {
      throw new RangeError(`one step log is expected, ${positionals.length} were given`);
    }
    return {
      path: positionals[0],
      summary: values.summary,
      jerk: values.jerk,
      check: values.check,
      speed: parseSpeed(values.speed),
      frames: values.frames ?? null,
      every: parseInteger("--every", values.every, 1, 100_000),
      size: parseInteger("--size", values.size, 1, 4096),
      task: values.task === undefined ? null : parseTaskName(values.task),
      json: values.json,
    };
  } catch (cause) {
    throw new UsageError(
      `Cannot replay: ${(cause as Error).message}; see deno task replay --help`,
      { cause },
    );
  }
}

function parseInteger(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${flag} is "${text}", expected an integer in ${min}–${max}`);
  }
  return value;
}

function parseSpeed(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= REPLAY_SPEED.min && value <= REPLAY_SPEED.max)) {
    throw new RangeError(
      `--speed is "${text}", expected a number in ${REPLAY_SPEED.min}–${REPLAY_SPEED.max}`,
    );
  }
  return value;
}
