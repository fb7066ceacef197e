/**
 * A logger that writes to the standard error stream, so that standard output stays free for results.
 *
 * @module
 */

import type { Logger } from "../types.ts";

/** Levels from the least to the most urgent. */
export const LOG_LEVELS = ["info", "warn", "error"] as const;

/** One of {@link LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Options of {@link consoleLogger}. */
export interface ConsoleLoggerOptions {
  /** Part of the program that speaks, such as `learner`; in front of every message. */
  readonly name?: string;
  /** Least urgent level that is written; `info` by default. */
  readonly level?: LogLevel;
  /** Current time; the system's by default. */
  readonly now?: () => Date;
  /** Takes each finished line, without a newline; standard error by default. */
  readonly write?: (line: string) => void;
}

/**
 * Make a logger for people at a terminal.
 *
 * @param options Name, level, clock and destination.
 * @returns A logger that writes lines such as `2026-01-31T12:00:00.000Z WARN  learner: …`. Line
 *   breaks inside a message are indented, so that every entry begins with its time.
 */
export function consoleLogger(options: ConsoleLoggerOptions = {}): Logger {
  const { name, level = "info", now = () => new Date(), write = console.error } = options;
  const source = name === undefined ? "" : `${name}: `;
  const log = (entryLevel: LogLevel) => (message: string) => {
    if (LOG_LEVELS.indexOf(entryLevel) < LOG_LEVELS.indexOf(level)) return;
    const label = entryLevel.toUpperCase().padEnd(5);
    write(`${now().toISOString()} ${label} ${source}${message.replaceAll("\n", "\n  ")}`);
  };
  return { info: log("info"), warn: log("warn"), error: log("error") };
}
