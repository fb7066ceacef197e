/**
 * How the schema's fields are written.
 *
 * @module
 */

import { z } from "zod";

/**
 * Attach what help shows; zod carries it into the JSON schema that flags are generated from.
 *
 * @param schema What values are taken.
 * @param unit Of its values; empty for a plain number or text.
 * @param description One sentence with a full stop.
 */
export function field<T extends z.ZodType>(schema: T, unit: string, description: string): T {
  return schema.meta({ unit, description });
}

/**
 * A text field with a rule that no number states.
 *
 * @param pattern What the text must match.
 * @param expects Completes "takes …".
 * @param unit Of its values; empty for plain text.
 * @param description One sentence with a full stop.
 */
export function text(
  pattern: RegExp,
  expects: string,
  unit: string,
  description: string,
): z.ZodString {
  return z.string().regex(pattern).meta({ unit, description, expects });
}
