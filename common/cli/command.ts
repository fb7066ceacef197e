/**
 * How a program declares its command line: which configuration fields it takes and which flags of
 * its own it adds. `flags.ts` parses it, `help.ts` prints it.
 *
 * @module
 */

import type { ConfigField } from "../config/config.ts";
import type { ValueRange } from "../config/field_spec.ts";
import type { PresetName } from "../config/presets.ts";
import { CONFIG_FIELDS } from "../config/schema.ts";

/** What every own flag says of itself. */
export interface Described {
  /** What it does, one sentence. */
  readonly description: string;
  /** Unit of the value, or what it is, such as `episodes` or `path`; empty for none. */
  readonly unit?: string;
}

/** A flag that is on or off: `--json`, `--no-json`. */
export interface BooleanFlag extends Described {
  /** Tells the kinds apart. */
  readonly kind: "boolean";
  /** Value when it is not given. */
  readonly default: boolean;
}

/** A flag that takes a number. */
export interface NumberFlag extends Described {
  /** Tells the kinds apart. */
  readonly kind: "integer" | "number";
  /** Value when it is not given. */
  readonly default: number;
  /** Smallest value; undefined for no bound. */
  readonly minimum?: number;
  /** Largest value; undefined for no bound. */
  readonly maximum?: number;
}

/** A flag that takes any text. */
export interface StringFlag extends Described {
  /** Tells the kinds apart. */
  readonly kind: "string";
  /** Value when it is not given. */
  readonly default: string;
}

/** A flag that takes one of a few words. */
export interface ChoiceFlag extends Described {
  /** Tells the kinds apart. */
  readonly kind: "choice";
  /** The words. */
  readonly choices: readonly string[];
  /** Value when it is not given. */
  readonly default: string;
}

/** A flag that a command adds to those of the configuration. */
export type OwnFlag = BooleanFlag | NumberFlag | StringFlag | ChoiceFlag;

/** A command's own flags by their camelCase names. */
export type OwnFlags = Readonly<Record<string, OwnFlag>>;

/** The type of one own flag's value. */
export type OwnValue<F extends OwnFlag> = F extends BooleanFlag ? boolean
  : F extends NumberFlag ? number
  : F extends ChoiceFlag ? F["choices"][number]
  : string;

/** The values of a command's own flags. */
export type OwnValues<F extends OwnFlags> = { readonly [K in keyof F]: OwnValue<F[K]> };

/** A command line. */
export interface Command<F extends OwnFlags> {
  /** How it is started, such as `deno task eval`. */
  readonly name: string;
  /** What it does, one or two sentences. */
  readonly summary: string;
  /** Preset used when `--config` is not given. */
  readonly preset: PresetName;
  /** Configuration fields that it takes as flags; all when left out. */
  readonly fields?: readonly ConfigField[];
  /** Its own flags. */
  readonly flags: F;
}

/** One flag as the parser and the help see it, whether of the configuration or the command's own. */
export interface FlagSpec extends ValueRange {
  /** camelCase name of the value. */
  readonly name: string;
  /** Name on the command line, without the hyphens in front. */
  readonly flag: string;
  /** Heading under which help lists it. */
  readonly group: string;
  /** Unit of its values; empty for none. */
  readonly unit: string;
  /** What it means, one sentence. */
  readonly description: string;
  /** Default of an own flag; undefined for a configuration field, whose preset holds it. */
  readonly default?: string | number | boolean;
}

/**
 * A camelCase name as it is written on a command line.
 *
 * @param name For instance `maxMessageMib`.
 * @returns For instance `max-message-mib`.
 * @example
 * ```ts
 * kebabCase("adamBeta1"); // "adam-beta1"
 * ```
 */
export function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/**
 * Every flag of a command, its own first.
 *
 * @param command The command.
 * @throws {TypeError} When an own flag has the name of a configuration field or of a built-in flag.
 */
export function flagSpecs<F extends OwnFlags>(command: Command<F>): FlagSpec[] {
  const own = Object.entries(command.flags).map(([name, flag]): FlagSpec => ({
    ...flag,
    name,
    flag: kebabCase(name),
    group: "Command",
    unit: flag.unit ?? "",
  }));
  const fields = CONFIG_FIELDS
    .filter((spec) => command.fields === undefined || command.fields.includes(spec.name))
    .map((spec): FlagSpec => ({ ...spec, flag: kebabCase(spec.name) }));
  const taken = new Set([...CONFIG_FIELDS.map((spec) => kebabCase(spec.name)), "config", "help"]);
  const clash = own.find((spec) => taken.has(spec.flag) || spec.flag.startsWith("no-"));
  if (clash) {
    throw new TypeError(
      `Cannot declare --${clash.flag} for ${command.name}: the name is taken; choose another`,
    );
  }
  return [...own, ...fields];
}
