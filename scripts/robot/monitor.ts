/**
 * `deno task robot monitor`: shows what the servos say, and touches none.
 *
 * @module
 */

import { consoleLogger } from "../../common/cli/logger.ts";
import { COMMON_FLAGS, readRequest, type ToolContext } from "./flags.ts";
import { describeMissing, type IdleArms, openIdleArms } from "./idle_arms.ts";
import { type MonitorRow, monitorRows, monitorTable } from "./monitor_table.ts";

/** Time between two tables that replace each other on a terminal, in ms. */
const TERMINAL_PERIOD_MS = 200;
/** Time between two tables, or lines of JSON, that follow each other, in ms. */
const PIPE_PERIOD_MS = 1_000;
/** Longest wait for all servos' first words, in ms; those that do not answer are shown without. */
const FIRST_WORDS_MS = 1_500;
/** Time between two looks for them, in ms. */
const POLL_MS = 20;
/** Lines about events that stay below the table on a terminal. */
const EVENT_LINES = 3;

const CLEAR_SCREEN = "\x1b[2J";
const CURSOR_HOME = "\x1b[H";
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";

const COMMAND = {
  name: "monitor",
  summary: "Show position, speed, current, temperature, voltage, errors, torque and watchdog of " +
    "every servo, until Ctrl-C. No servo is touched.",
  flags: {
    ...COMMON_FLAGS,
    seconds: {
      kind: "number",
      default: 0,
      minimum: 0,
      maximum: 86_400,
      unit: "s",
      description: "End after this time; 0 goes on until Ctrl-C.",
    },
  },
} as const;

/**
 * A screen that replaces the one before, without flicker.
 *
 * @param text Its lines.
 * @param isFirst Whether something else may be on the terminal.
 * @returns What to write to the terminal.
 */
export function redraw(text: string, isFirst: boolean): string {
  const lines = text.split("\n").map((line) => `${line}${CLEAR_LINE}\n`).join("");
  return `${isFirst ? CLEAR_SCREEN : ""}${CURSOR_HOME}${lines}${CLEAR_BELOW}`;
}

/**
 * Run the subcommand.
 *
 * @param args The arguments behind its name.
 * @param context The program; its signal ends the subcommand well.
 * @throws {Error} No arm could be opened.
 */
export async function runMonitor(args: readonly string[], context: ToolContext): Promise<void> {
  const request = await readRequest(COMMAND, args, context);
  if (request === null) return;
  const { settings, flags: { seconds, json } } = request;
  const { print, signal } = context;
  const isScreen = !json && Deno.stdout.isTerminal();
  const events: string[] = [];
  const logger = consoleLogger({
    name: "robot",
    level: "warn",
    // Lines between two screens would be drawn over.
    write: isScreen ? (line) => void events.push(line) : console.error,
  });
  await using arms = await openIdleArms(settings, { logger });
  const missing = describeMissing(arms.missing);
  if (missing !== "") logger.warn(missing);
  const endMs = seconds === 0 ? Infinity : performance.now() + 1000 * seconds;
  const periodMs = isScreen ? TERMINAL_PERIOD_MS : PIPE_PERIOD_MS;
  await listen(arms);
  await firstWords(arms, signal);
  for (let count = 0; !signal.aborted; count++) {
    const rows = readRows(arms);
    if (json) print(JSON.stringify({ timeMs: Date.now(), servos: rows }));
    else if (isScreen) {
      const text = [monitorTable(rows), "", ...events.slice(-EVENT_LINES), "Ctrl-C ends this."];
      await writeAll(redraw(text.join("\n"), count === 0));
    } else print(`${new Date().toISOString()}\n${monitorTable(rows)}\n`);
    const leftMs = endMs - performance.now();
    if (leftMs <= 0) break;
    await pause(Math.min(periodMs, leftMs), signal);
    if (performance.now() >= endMs) break;
    // A port that was gone comes back idle.
    await listen(arms);
  }
}

/** Let idle buses read. One whose port is gone says so through the logger. */
async function listen({ buses }: IdleArms): Promise<void> {
  for (const bus of buses.values()) {
    if (bus.mode !== "monitor") await bus.setMode("monitor").catch(() => {});
  }
}

async function firstWords({ buses }: IdleArms, signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + FIRST_WORDS_MS;
  const isKnown = () =>
    [...buses.values()].every((bus) =>
      bus.readState() !== null &&
      bus.readHealth()?.servos.every((servo) => Object.values(servo).every(Number.isFinite))
    );
  while (!signal.aborted && !isKnown() && performance.now() < endMs) await pause(POLL_MS, signal);
}

function readRows({ buses }: IdleArms): MonitorRow[] {
  return [...buses].flatMap(([arm, bus]) =>
    // What a lost bus said last is not what is.
    bus.mode === "monitor"
      ? monitorRows(arm, bus.readState(), bus.readHealth())
      : monitorRows(arm, null, null)
  );
}

/** Wait, or until the signal. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
}

async function writeAll(text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
}
