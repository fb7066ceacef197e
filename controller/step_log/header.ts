/**
 * The first line of a step log: what was driven, under which limits, to what end.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { z } from "zod";
import { STATE_NAMES } from "../../common/robot/aloha.ts";
import { namedLimits, type SafetyLimits } from "../safety/limits.ts";
import { COLUMNS, CYCLE, EVENT_KINDS, STEP_LOG_FORMAT, STEP_LOG_VERSION } from "./layout.ts";

/** Longest header line, in bytes, its newline included. */
export const MAX_HEADER_BYTES = 65536;

/** What the writer of a log tells of itself. */
export interface StepLogHeader {
  /** When the log begins, in ms since 1970. */
  readonly startMs: number;
  /** Cycles a second, 1–1000. */
  readonly rateHz: number;
  /** What was driven: `aloha`, `emulated`. */
  readonly robot: string;
  /** {@link hashLimits} of the limits in force. */
  readonly limitsHash: string;
  /** Names of the limits that were wider than their defaults, such as `left.waist.velocity`. */
  readonly widenings: readonly string[];
  /** Name of the task. */
  readonly task: string;
  /** The task in words, as the policy was given it. */
  readonly prompt: string;
}

const headerSchema = z.object({
  startMs: z.number().min(0),
  rateHz: z.number().min(1).max(1000),
  robot: z.string().max(100),
  limitsHash: z.string().max(100),
  widenings: z.array(z.string().max(200)).max(500),
  task: z.string().max(1000),
  prompt: z.string().max(10_000),
});

const layoutSchema = z.object({
  format: z.literal(STEP_LOG_FORMAT),
  version: z.literal(STEP_LOG_VERSION),
});

/** What is the same in every log of this version. */
const LAYOUT = {
  names: STATE_NAMES,
  cycleBytes: CYCLE.bytes,
  columns: COLUMNS,
  eventKinds: EVENT_KINDS,
} as const;

/**
 * A short name of limits: equal limits have equal names.
 *
 * @param limits Limits in force.
 * @returns 16 hexadecimal digits of the SHA-256 of their names and values.
 */
export function hashLimits(limits: SafetyLimits): string {
  const text = JSON.stringify([...namedLimits(limits)]);
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/**
 * Write a header.
 *
 * @param header What the log is of.
 * @returns A line of JSON in UTF-8, its newline included.
 * @throws {RangeError} A field is out of range, or the line is longer than {@link MAX_HEADER_BYTES}.
 */
export function encodeHeader(header: StepLogHeader): Uint8Array<ArrayBuffer> {
  const parsed = headerSchema.safeParse(header);
  if (!parsed.success) {
    throw new RangeError(`Cannot begin a step log: ${problemsOf(parsed.error)}`);
  }
  const line = JSON.stringify({
    format: STEP_LOG_FORMAT,
    version: STEP_LOG_VERSION,
    ...parsed.data,
    ...LAYOUT,
  });
  const bytes = new TextEncoder().encode(`${line}\n`);
  if (bytes.length > MAX_HEADER_BYTES) {
    throw new RangeError(
      `Cannot begin a step log: its header has ${bytes.length} bytes, at most ` +
        `${MAX_HEADER_BYTES} are allowed; shorten the prompt`,
    );
  }
  return bytes;
}

/**
 * Read a header.
 *
 * @param bytes The beginning of a file.
 * @returns The header and how many bytes it takes.
 * @throws {SyntaxError} It is no step log, is of another version, or was cut off within its header.
 */
export function decodeHeader(
  bytes: Uint8Array,
): { readonly header: StepLogHeader; readonly bytes: number } {
  const end = bytes.subarray(0, MAX_HEADER_BYTES).indexOf(10);
  if (end < 0) {
    throw new SyntaxError(
      bytes.length < MAX_HEADER_BYTES
        ? `the header line has no end within the file's ${bytes.length} bytes`
        : `the header line has no end within ${MAX_HEADER_BYTES} bytes`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, end)));
  } catch (cause) {
    throw new SyntaxError(`its first line is not JSON: ${(cause as Error).message}`, { cause });
  }
  const layout = layoutSchema.safeParse(value);
  if (!layout.success) {
    throw new SyntaxError(
      `its header does not say format "${STEP_LOG_FORMAT}", version ${STEP_LOG_VERSION}: ` +
        problemsOf(layout.error),
    );
  }
  const described = value as Record<string, unknown>;
  for (const [name, ours] of Object.entries(LAYOUT)) {
    if (JSON.stringify(described[name]) !== JSON.stringify(ours)) {
      throw new SyntaxError(
        `its header's ${name} are not those of version ${STEP_LOG_VERSION}; ` +
          `read it with the program that wrote it`,
      );
    }
  }
  const header = headerSchema.safeParse(value);
  if (!header.success) throw new SyntaxError(`its header is wrong: ${problemsOf(header.error)}`);
  return { header: header.data, bytes: end + 1 };
}

function problemsOf(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => `${path.join(".") || "the whole"}: ${message}`)
    .join("; ");
}
