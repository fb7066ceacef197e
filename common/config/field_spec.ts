/**
 * What a person has to know about one configuration field, read from its zod schema: kind, unit,
 * range, meaning. Help texts and error sentences are both written from it.
 *
 * @module
 */

import { z } from "zod";
import type { ConfigField } from "./config.ts";

/** How a value is written on a command line. */
export type ValueKind = "boolean" | "integer" | "number" | "string" | "choice";

/** What values a field or a flag takes. */
export interface ValueRange {
  /** How a value is written. */
  readonly kind: ValueKind;
  /** Smallest value; undefined for no bound. */
  readonly minimum?: number;
  /** Largest value; undefined for no bound. */
  readonly maximum?: number;
  /** Bound that values must exceed; undefined for none. */
  readonly above?: number;
  /** Bound that values must stay below; undefined for none. */
  readonly below?: number;
  /** The values of a choice. */
  readonly choices?: readonly (string | number)[];
  /** What a text must be, completing "takes …"; undefined when any text will do. */
  readonly expects?: string;
}

/** One field of the configuration. */
export interface FieldSpec extends ValueRange {
  /** The field's name in camelCase. */
  readonly name: ConfigField;
  /** Heading under which help lists it. */
  readonly group: string;
  /** Unit of its values; empty for a plain number or text. */
  readonly unit: string;
  /** What it means, one sentence. */
  readonly description: string;
}

const jsonSchemaOfField = z.object({
  type: z.enum(["boolean", "integer", "number", "string"]),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  exclusiveMinimum: z.number().optional(),
  exclusiveMaximum: z.number().optional(),
  minLength: z.number().optional(),
  enum: z.array(z.union([z.string(), z.number()])).optional(),
  unit: z.string(),
  description: z.string().min(1),
  expects: z.string().optional(),
});

/**
 * Read a field's JSON schema.
 *
 * @param name The field's name.
 * @param group Heading under which help lists it.
 * @param jsonSchema What `z.toJSONSchema` made of the field.
 * @returns The field's specification.
 * @throws {TypeError} When the field has no unit or description, or a kind that no flag can carry.
 */
export function fieldSpec(name: ConfigField, group: string, jsonSchema: unknown): FieldSpec {
  const parsed = jsonSchemaOfField.safeParse(jsonSchema);
  if (!parsed.success) {
    throw new TypeError(`Cannot describe field ${name}: ${z.prettifyError(parsed.error)}`);
  }
  const { enum: choices, minLength, unit, description, expects, ...json } = parsed.data;
  return {
    name,
    group,
    unit,
    description,
    kind: choices ? "choice" : json.type,
    // zod states the safe integers as the range of an unbounded integer.
    minimum: json.minimum === Number.MIN_SAFE_INTEGER ? undefined : json.minimum,
    maximum: json.maximum === Number.MAX_SAFE_INTEGER ? undefined : json.maximum,
    above: json.exclusiveMinimum,
    below: json.exclusiveMaximum,
    choices,
    expects: expects ?? (minLength ? "a text that is not empty" : undefined),
  };
}

/**
 * Say which values are taken, to complete a sentence such as "takes …".
 *
 * @param range The values taken.
 * @returns For instance `an integer from 0 to 65535` or `one of reach, transfer_cube`.
 */
export function describeRange(range: ValueRange): string {
  switch (range.kind) {
    case "boolean":
      return "true or false";
    case "choice":
      return `one of ${(range.choices ?? []).join(", ")}`;
    case "string":
      return range.expects ?? "a text";
    case "integer":
    case "number": {
      const noun = range.kind === "integer" ? "an integer" : "a number";
      if (range.minimum !== undefined && range.maximum !== undefined) {
        return `${noun} from ${range.minimum} to ${range.maximum}`;
      }
      const bounds = [
        range.minimum === undefined ? "" : `of at least ${range.minimum}`,
        range.above === undefined ? "" : `above ${range.above}`,
        range.maximum === undefined ? "" : `of at most ${range.maximum}`,
        range.below === undefined ? "" : `below ${range.below}`,
      ].filter((bound) => bound !== "");
      return bounds.length > 0 ? `${noun} ${bounds.join(" and ")}` : noun;
    }
    default:
      return range.kind satisfies never;
  }
}
