/**
 * What the parts of `deno task soak` share: their command line, and how they are run.
 *
 * @module
 */

import type { Command, OwnFlags } from "../../common/cli/command.ts";
import { parseCommand } from "../../common/cli/flags.ts";
import { consoleLogger } from "../../common/cli/logger.ts";
import type { Config } from "../../common/config/config.ts";
import type { Logger } from "../../common/types.ts";
import type { OwnValues } from "../../common/cli/command.ts";
import { EXECUTION_MODES } from "../../controller/aloha/arm_rollout.ts";
import { DRIVER_CHOICES } from "../../controller/dynamixel/open_bus.ts";
import { missedGoals, reportText, type SoakReport } from "./report.ts";

/** Flags of every part. */
export const COMMON_FLAGS = {
  json: {
    kind: "boolean",
    default: false,
    description: "Print all numbers as one JSON object, the last line of stdout.",
  },
  verbose: {
    kind: "boolean",
    default: false,
    description: "Show everything that the controller says, not only its warnings.",
  },
} as const satisfies OwnFlags;

/** Flags of the parts that drive arms in this process. */
export const ARM_FLAGS = {
  ...COMMON_FLAGS,
  episodeSteps: {
    kind: "integer",
    default: 500,
    minimum: 1,
    unit: "control steps",
    description: "Length of an episode; homing follows each.",
  },
  rate: {
    kind: "choice",
    choices: ["50", "100", "200"],
    default: "50",
    description: "Cycles of each bus a second, Hz.",
  },
  execution: {
    kind: "choice",
    choices: EXECUTION_MODES,
    default: "overlap",
    description: "How chunks are executed; with overlap the arms do not rest between them.",
  },
  dxlDriver: {
    kind: "choice",
    choices: DRIVER_CHOICES,
    default: "auto",
    description: "Driver of the servos' buses; auto takes ROBOTIS' library where it is found.",
  },
} as const satisfies OwnFlags;

/** A logger that says nothing. */
export const SILENT: Logger = { info() {}, warn() {}, error() {} };

/** What a part works with. */
export interface SoakContext<F extends OwnFlags> {
  /** The configuration. */
  readonly config: Config;
  /** The part's flags. */
  readonly flags: OwnValues<F>;
  /** Takes lines of the soak run itself. */
  readonly progress: Logger;
  /** Takes lines of the controller. */
  readonly logger: Logger;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

/** One part of `deno task soak`. */
export interface SoakPart {
  /** What it measures, one sentence. */
  readonly summary: string;
  /**
   * Run it.
   *
   * @param args Its arguments.
   * @param signal Ends it.
   * @throws {Error} A goal was missed; the table has been printed.
   */
  run(args: readonly string[], signal: AbortSignal): Promise<void>;
}

/**
 * Make a part from what it measures.
 *
 * @param name Its name behind `deno task soak`.
 * @param summary What it measures.
 * @param flags Its flags.
 * @param measure Measures; every report is printed.
 * @returns The part.
 */
export function soakPart<const F extends OwnFlags & typeof COMMON_FLAGS>(
  name: string,
  summary: string,
  flags: F,
  measure: (context: SoakContext<F>) => Promise<readonly SoakReport[]>,
): SoakPart {
  const command: Command<F> = {
    name: `deno task soak ${name}`,
    summary,
    preset: "demo",
    fields: ["seed", "task", "checkpoint", "device"],
    flags,
  };
  return {
    summary,
    async run(args, signal) {
      const parsed = parseCommand(command, args);
      if (parsed.kind === "help") return console.log(parsed.text);
      // What every part has, whatever else its flags are.
      const { json, verbose } = parsed.flags as OwnValues<typeof COMMON_FLAGS>;
      const reports = await measure({
        config: parsed.config,
        flags: parsed.flags,
        progress: consoleLogger({ name: "soak" }),
        logger: consoleLogger({ name: "controller", level: verbose ? "info" : "warn" }),
        signal,
      });
      for (const report of reports) console.log(`\n${reportText(report)}`);
      if (json) console.log(JSON.stringify({ part: name, reports }));
      const missed = reports.flatMap(missedGoals);
      if (missed.length > 0) throw new Error(`Goals were missed: ${missed.join("; ")}`);
    },
  };
}
