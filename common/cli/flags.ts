/**
 * Command-line parsing: a preset, the flags that replace its fields, and a command's own flags,
 * checked and typed. Flags are generated from the configuration's schema, so a new field is a new
 * flag at once.
 *
 * @module
 */

import { parseArgs } from "node:util";
import type { Config } from "../config/config.ts";
import { describeRange } from "../config/field_spec.ts";
import { isPresetName, PRESET_NAMES, type PresetName, PRESETS } from "../config/presets.ts";
import { parseConfig } from "../config/rules.ts";
import {
  type Command,
  type FlagSpec,
  flagSpecs,
  kebabCase,
  type OwnFlags,
  type OwnValues,
} from "./command.ts";
import { helpText } from "./help.ts";
import { nearest } from "./nearest.ts";

/** The command line is wrong; programs end with exit code 2. The message is one full sentence. */
export class UsageError extends Error {
  /** Tells it from other errors in logs. */
  override readonly name = "UsageError";
}

/** What a command line asks for. */
export type ParsedCommand<F extends OwnFlags> =
  | {
    /** Only the help is wanted. */
    readonly kind: "help";
    /** The help. */
    readonly text: string;
  }
  | {
    /** The command shall run. */
    readonly kind: "run";
    /** The preset that the configuration began with. */
    readonly preset: PresetName;
    /** The preset with the given flags in place, checked. */
    readonly config: Config;
    /** The command's own flags. */
    readonly flags: OwnValues<F>;
    /** camelCase names of the flags that were given, be they equal to the default. */
    readonly given: ReadonlySet<string>;
  };

type Value = string | number | boolean;

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** `--exp_name=a_b` → `--exp-name=a_b`: underscores of the name only. */
function withHyphens(argument: string): string {
  return argument.replace(/^--[^=]+/, (name) => name.replaceAll("_", "-"));
}

function unknownFlag(rawName: string, specs: readonly FlagSpec[], command: string): UsageError {
  const names = specs.flatMap(({ flag, kind }) => kind === "boolean" ? [flag, `no-${flag}`] : flag);
  const meant = nearest(kebabCase(rawName.replace(/^-+/, "")), [...names, "config", "help"]);
  const advice = meant === undefined ? "" : `did you mean --${meant}, or `;
  return new UsageError(
    `Unknown flag ${rawName}: ${advice}run ${command} --help for the list.`,
  );
}

/** Whether a flag's numbers have a unit worth naming in an error. */
function isMeasured(spec: FlagSpec): boolean {
  return spec.unit !== "" && (spec.kind === "integer" || spec.kind === "number");
}

/** Turn the text of a flag into its value; texts of fields are checked with the whole configuration. */
function readValue(spec: FlagSpec, text: string): Value {
  const wrong = () =>
    new UsageError(
      `Invalid --${spec.flag}: it is ${NUMBER.test(text) ? text : JSON.stringify(text)}, ` +
        `but it takes ${describeRange(spec)}${isMeasured(spec) ? ` (${spec.unit})` : ""}.`,
    );
  switch (spec.kind) {
    case "boolean":
      if (text !== "true" && text !== "false") throw wrong();
      return text === "true";
    case "string":
      return text;
    case "choice": {
      const choice = spec.choices?.find((candidate) => String(candidate) === text);
      if (choice === undefined) throw wrong();
      return choice;
    }
    case "integer":
    case "number": {
      const value = Number(text);
      if (!NUMBER.test(text) || !Number.isFinite(value)) throw wrong();
      if (spec.kind === "integer" && !Number.isSafeInteger(value)) throw wrong();
      if (value < (spec.minimum ?? -Infinity) || value > (spec.maximum ?? Infinity)) throw wrong();
      if (value <= (spec.above ?? -Infinity) || value >= (spec.below ?? Infinity)) throw wrong();
      return value;
    }
    default:
      return spec.kind satisfies never;
  }
}

interface RawFlags {
  readonly wantsHelp: boolean;
  readonly preset: string | undefined;
  readonly values: ReadonlyMap<string, Value>;
}

/** Read every argument; the last one of a flag given twice counts. */
function readArguments(
  args: readonly string[],
  specs: readonly FlagSpec[],
  name: string,
): RawFlags {
  const byFlag = new Map(specs.map((spec) => [spec.flag, spec]));
  const typeOf = (spec: FlagSpec) => ({
    type: spec.kind === "boolean" ? "boolean" as const : "string" as const,
  });
  const { tokens } = parseArgs({
    // `deno task x -- --flag` hands the separator on; nothing of ours follows one.
    args: args.filter((argument) => argument !== "--").map(withHyphens),
    options: {
      ...Object.fromEntries(specs.map((spec) => [spec.flag, typeOf(spec)])),
      config: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  let wantsHelp = false;
  let preset: string | undefined;
  const values = new Map<string, Value>();
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      throw new UsageError(
        `Unexpected argument ${JSON.stringify(token.value)}: write values as --flag VALUE; ` +
          `run ${name} --help for the flags.`,
      );
    }
    if (token.name === "help") {
      wantsHelp = true;
      continue;
    }
    const negated = token.name.startsWith("no-") ? byFlag.get(token.name.slice(3)) : undefined;
    if (negated?.kind === "boolean") {
      if (token.value !== undefined) {
        throw new UsageError(`--${token.name} takes no value, but was given ${token.value}.`);
      }
      values.set(negated.name, false);
      continue;
    }
    const spec = byFlag.get(token.name);
    if (spec === undefined && token.name !== "config") {
      throw unknownFlag(token.rawName, specs, name);
    }
    if (spec?.kind === "boolean" && token.value === undefined) {
      values.set(spec.name, true);
      continue;
    }
    // parseArgs lets a value flag swallow the flag after it.
    const isSwallowedFlag = token.inlineValue === false && token.value?.startsWith("--");
    if (token.value === undefined || isSwallowedFlag) {
      const range = spec === undefined ? `one of ${PRESET_NAMES.join(", ")}` : describeRange(spec);
      throw new UsageError(`--${token.name} needs a value: it takes ${range}.`);
    }
    if (spec === undefined) preset = token.value;
    else values.set(spec.name, readValue(spec, token.value));
  }
  return { wantsHelp, preset, values };
}

/**
 * Parse a command line.
 *
 * Flags are the kebab-case names of fields (snake_case works too), as `--flag value` or
 * `--flag=value`; booleans as `--flag` and `--no-flag`. `--config NAME` chooses the preset.
 *
 * @param command The command's declaration.
 * @param args The arguments after the program's name.
 * @returns The help text, or the checked configuration and the values of the command's own flags.
 * @throws {UsageError} With one sentence that says what is wrong and what to do.
 * @example
 * ```ts
 * const parsed = parseCommand({
 *   name: "deno task eval",
 *   summary: "Measure a checkpoint.",
 *   preset: "demo",
 *   fields: ["seed", "checkpoint"],
 *   flags: { episodes: { kind: "integer", default: 100, minimum: 1, description: "Episodes." } },
 * }, ["--episodes", "20", "--seed=3"]);
 * if (parsed.kind === "run") parsed.flags.episodes; // 20
 * ```
 */
export function parseCommand<const F extends OwnFlags>(
  command: Command<F>,
  args: readonly string[],
): ParsedCommand<F> {
  const specs = flagSpecs(command);
  const raw = readArguments(args, specs, command.name);
  const preset = raw.preset ?? command.preset;
  if (!isPresetName(preset)) {
    const meant = nearest(preset, PRESET_NAMES);
    throw new UsageError(
      `Unknown preset ${JSON.stringify(preset)}: --config takes one of ${PRESET_NAMES.join(", ")}` +
        (meant === undefined ? "." : `; did you mean ${meant}?`),
    );
  }
  if (raw.wantsHelp) return { kind: "help", text: helpText(command, preset) };

  const fields = new Set<string>(Object.keys(PRESETS[preset]));
  const overrides = [...raw.values].filter(([name]) => fields.has(name));
  const own = Object.entries(command.flags).map((
    [name, flag],
  ) => [name, raw.values.get(name) ?? flag.default]);
  let config: Config;
  try {
    config = parseConfig(
      { ...PRESETS[preset], ...Object.fromEntries(overrides) },
      (field) => `--${kebabCase(field)}`,
    );
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
  return {
    kind: "run",
    preset,
    config,
    // Each value was read by its flag's own kind, or is its declared default.
    flags: Object.fromEntries(own) as OwnValues<F>,
    given: new Set(raw.values.keys()),
  };
}
