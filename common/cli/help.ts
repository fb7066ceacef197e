/**
 * The text of `--help`: every flag with its default, unit, range and meaning.
 *
 * @module
 */

import type { Config, ConfigField } from "../config/config.ts";
import { describeRange } from "../config/field_spec.ts";
import { PRESET_NAMES, type PresetName, PRESETS } from "../config/presets.ts";
import { type Command, type FlagSpec, flagSpecs, type OwnFlags } from "./command.ts";

const LINE_WIDTH = 100;
const INDENT = 6;

/** Break a text into lines that fit the terminal, all indented alike. */
function wrap(text: string): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && INDENT + line.length + 1 + word.length > LINE_WIDTH) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? word : ` ${word}`;
  }
  lines.push(line);
  return lines.map((content) => " ".repeat(INDENT) + content).join("\n");
}

function placeholder(spec: FlagSpec): string {
  switch (spec.kind) {
    case "boolean":
      return "";
    case "choice":
      return ` ${(spec.choices ?? []).join("|")}`;
    case "integer":
    case "number":
      return " N";
    case "string":
      return ` ${spec.unit === "" ? "TEXT" : spec.unit.toUpperCase()}`;
    default:
      return spec.kind satisfies never;
  }
}

function describeFlag(spec: FlagSpec, value: unknown): string {
  const name = spec.kind === "boolean" ? `--[no-]${spec.flag}` : `--${spec.flag}`;
  const isNumber = spec.kind === "integer" || spec.kind === "number";
  const shown = value === "" ? "empty" : String(value);
  const facts = [
    isNumber && spec.unit !== "" ? `default ${shown} ${spec.unit}` : `default ${shown}`,
  ];
  if (isNumber || spec.expects !== undefined) facts.push(describeRange(spec));
  return `  ${name}${placeholder(spec)}\n${wrap(`${spec.description} [${facts.join("; ")}]`)}`;
}

/**
 * Write the help of a command.
 *
 * @param command The command.
 * @param preset The preset whose values are shown as the defaults.
 * @returns Text of many lines, at most 100 characters wide save for long lists of choices.
 */
export function helpText<F extends OwnFlags>(command: Command<F>, preset: PresetName): string {
  const specs = flagSpecs(command);
  const defaults: Config = PRESETS[preset];
  const sections = [...new Set(specs.map((spec) => spec.group))].map((group) => {
    const flags = specs
      .filter((spec) => spec.group === group)
      .map((spec) => describeFlag(spec, spec.default ?? defaults[spec.name as ConfigField]));
    return `${group}:\n${flags.join("\n")}`;
  });
  return [
    `${command.name} – ${command.summary}`,
    `Usage: ${command.name} [--flag VALUE | --flag=VALUE]…\n` +
    `Defaults shown are those of preset ${preset}; underscores may replace hyphens in names.`,
    `General:\n  --config ${PRESET_NAMES.join("|")}\n` +
    `${wrap(`Preset that gives every flag its default. [default ${command.preset}]`)}\n` +
    `  --help, -h\n${wrap("Print this text and leave.")}`,
    ...sections,
  ].join("\n\n");
}
