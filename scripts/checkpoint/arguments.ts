/**
 * Command lines with a subcommand and paths in front of the flags:
 * `deno task checkpoint convert SRC DEST --format orbax`.
 * @module
 */

import type { Config, ConfigField } from "../../common/config/config.ts";
import type { Command, OwnFlags, OwnValues } from "../../common/cli/command.ts";
import { flagSpecs } from "../../common/cli/command.ts";
import { parseCommand, UsageError } from "../../common/cli/flags.ts";

/** A subcommand. */
export interface Subcommand<F extends OwnFlags> {
  /** How it is started, with its paths: `deno task checkpoint inspect DIR`. */
  readonly name: string;
  /** What it does. */
  readonly summary: string;
  /** What its paths are called, in their order. */
  readonly paths: readonly string[];
  /** Configuration fields that it takes as flags; none unless told. */
  readonly fields?: readonly ConfigField[];
  /** Its flags. */
  readonly flags: F;
}

/** What a subcommand's line asks for. */
export type ParsedSubcommand<F extends OwnFlags> =
  | {
    /** Only the help is wanted. */
    readonly kind: "help";
    /** The help. */
    readonly text: string;
  }
  | {
    /** The subcommand shall run. */
    readonly kind: "run";
    /** Its paths. */
    readonly paths: readonly string[];
    /** Its flags. */
    readonly flags: OwnValues<F>;
    /** The demo preset with the given fields in place. */
    readonly config: Config;
    /** camelCase names of the flags that were given. */
    readonly given: ReadonlySet<string>;
  };

/**
 * Parse the arguments of a subcommand; paths may stand before, between or behind the flags.
 *
 * @param subcommand Its declaration.
 * @param args The arguments behind its name.
 * @throws {UsageError} One sentence, when a flag is wrong or there are too many or too few paths.
 */
export function parseSubcommand<const F extends OwnFlags>(
  subcommand: Subcommand<F>,
  args: readonly string[],
): ParsedSubcommand<F> {
  const { name, summary, paths: wanted, fields = [], flags } = subcommand;
  const takesValue = new Set(
    flagSpecs({ name, summary, preset: "demo", fields, flags })
      .filter(({ kind }) => kind !== "boolean").map(({ flag }) => `--${flag}`),
  );
  const paths: string[] = [];
  const rest: string[] = [];
  for (let i = 0; i < args.length; i++) {
    if (!args[i].startsWith("-")) paths.push(args[i]);
    else {
      rest.push(args[i]);
      if (takesValue.has(args[i].replaceAll("_", "-")) && i + 1 < args.length) rest.push(args[++i]);
    }
  }
  const command: Command<F> = { name, summary, preset: "demo", fields, flags };
  const parsed = parseCommand(command, rest);
  if (parsed.kind === "help") return parsed;
  if (paths.length !== wanted.length) {
    throw new UsageError(
      `${name} takes ${wanted.length === 1 ? "one path" : `${wanted.length} paths`} ` +
        `(${wanted.join(" ")}), but ${
          ["none is", "one is"][paths.length] ?? `${paths.length} are`
        } given.`,
    );
  }
  const { config, given } = parsed;
  return { kind: "run", paths, flags: parsed.flags, config, given };
}
