/**
 * The command lines of `deno task robot`.
 *
 * @module
 */

import type { OwnFlags, OwnValues } from "../../common/cli/command.ts";
import { parseCommand } from "../../common/cli/flags.ts";
import { ARMS_FLAGS, type ArmsSettings, armsSettings } from "../../controller/aloha/flags.ts";

/** Which arms a tool works on: both kinds answer through the same drivers. */
export const ARMS_KINDS = ["aloha", "emulated"] as const;

/** Flags that every subcommand takes. */
export const COMMON_FLAGS = {
  robot: {
    kind: "choice",
    choices: ARMS_KINDS,
    default: "aloha",
    description: "Which arms: real ones, or emulated servos behind the real drivers, which start " +
      "anew in their sleep pose with every program.",
  },
  ...ARMS_FLAGS,
  json: {
    kind: "boolean",
    default: false,
    description: "Print JSON on stdout instead of tables.",
  },
} as const satisfies OwnFlags;

/** The flag of everything that a person must agree to. */
export const YES_FLAG = {
  yes: {
    kind: "boolean",
    default: false,
    description: "Agree beforehand, so that no Enter is waited for.",
  },
} as const satisfies OwnFlags;

/** What a subcommand gets from its program. */
export interface ToolContext {
  /** Takes lines for standard output. */
  readonly print: (line: string) => void;
  /** Ends the subcommand. */
  readonly signal: AbortSignal;
  /** The environment's `TENDON_DXL_LIBRARY`; empty for none. */
  readonly libraryVariable: string;
}

/** A command line that has been read. */
export interface ToolRequest<F extends OwnFlags> {
  /** Values of the flags. */
  readonly flags: OwnValues<F>;
  /** What they say about the arms. */
  readonly settings: ArmsSettings;
}

/**
 * Read a subcommand's flags.
 *
 * @param name Of the subcommand.
 * @param summary What it does.
 * @param flags Its flags, {@link COMMON_FLAGS} among them.
 * @param args The arguments behind its name.
 * @param context The program; its `print` gets the help if that is wanted.
 * @returns What is asked for; null once the help has been printed.
 * @throws {UsageError} With one sentence that says what is wrong and what to do.
 * @throws {TypeError | RangeError | SyntaxError} The file of the limits does not fit.
 */
export async function readRequest<const F extends OwnFlags & typeof COMMON_FLAGS>(
  { name, summary, flags }: { readonly name: string; readonly summary: string; readonly flags: F },
  args: readonly string[],
  context: ToolContext,
): Promise<ToolRequest<F> | null> {
  const command = {
    name: `deno task robot ${name}`,
    summary,
    preset: "demo",
    fields: [],
    flags,
  } as const;
  const parsed = parseCommand(command, args);
  if (parsed.kind === "help") {
    context.print(parsed.text);
    return null;
  }
  // TypeScript does not see through the generic record that these are COMMON_FLAGS' values, too.
  const common = parsed.flags as unknown as OwnValues<typeof COMMON_FLAGS>;
  const settings = await armsSettings(common.robot, common, context.libraryVariable);
  return { flags: parsed.flags, settings };
}
