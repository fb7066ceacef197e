/**
 * Starts one of Tendon's programs as a process and reads its events.
 * @module
 */

import { fileURLToPath } from "node:url";
import { kebabCase } from "../../common/cli/command.ts";
import type { Config } from "../../common/config/config.ts";

/** A JSON line of a program's stdout. */
export interface ChildEvent {
  /** What happened: listening, update or summary. */
  readonly event: string;
  /** Whatever belongs to it. */
  readonly [field: string]: unknown;
}

/** A program running as a process of its own. Disposing of it stops it. */
export interface RunningProgram extends AsyncDisposable {
  /** Its server is bound. Rejects if it ends before. */
  readonly listening: Promise<ChildEvent>;
  /** It has ended well, with its summary. Rejects with its last words otherwise. */
  readonly summary: Promise<ChildEvent>;
}

/** What both programs may do; the same as their tasks in deno.json. */
const PERMISSIONS = [
  "--allow-read",
  "--allow-write",
  "--allow-net",
  "--allow-env",
  "--allow-sys",
  "--allow-ffi",
];

/** How long a program may take to stop before it is killed, in milliseconds. */
const STOP_TIMEOUT_MS = 5000;

/**
 * Start a program with `--json`.
 * @param name `learner` or `controller`.
 * @param args Its flags.
 * @param onEvent Called with each of its events.
 * @param signal Stops it.
 */
export function startProgram(
  name: "learner" | "controller",
  args: readonly string[],
  onEvent: (event: ChildEvent) => void,
  signal: AbortSignal,
): RunningProgram {
  const main = fileURLToPath(new URL(`../../${name}/main.ts`, import.meta.url));
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", ...PERMISSIONS, main, ...args, "--json"],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stop = () => {
    try {
      process.kill("SIGTERM");
    } catch {
      // It has ended by itself.
    }
  };
  signal.addEventListener("abort", stop, { once: true });

  const listening = Promise.withResolvers<ChildEvent>();
  let summary: ChildEvent | undefined;
  let lastWords = "it said nothing";
  const output = readLines(process.stdout, (line) => {
    const event = JSON.parse(line) as ChildEvent;
    if (event.event === "listening") listening.resolve(event);
    if (event.event === "summary") summary = event;
    onEvent(event);
  });
  const errors = readLines(process.stderr, (line) => (lastWords = line));
  const ended = Promise.all([process.status, output, errors]).then(([status]) => {
    signal.removeEventListener("abort", stop);
    signal.throwIfAborted();
    if (!status.success || !summary) {
      throw new Error(`The ${name} ended with code ${status.code}: ${lastWords}`);
    }
    return summary;
  });
  ended.catch(listening.reject);
  // Whoever awaits only one of the two must not be hit by the other one's rejection.
  listening.promise.catch(() => {});
  ended.catch(() => {});
  return {
    listening: listening.promise,
    summary: ended,
    async [Symbol.asyncDispose]() {
      stop();
      const timer = setTimeout(() => process.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await process.status;
      clearTimeout(timer);
      await ended.catch(() => {});
    },
  };
}

/**
 * A configuration as flags of a command line.
 * @param config Every field is told, whatever the program's preset.
 */
export function configArguments(config: Config): string[] {
  return Object.entries(config).map(([field, value]) =>
    typeof value === "boolean"
      ? `--${value ? "" : "no-"}${kebabCase(field)}`
      : `--${kebabCase(field)}=${value}`
  );
}

async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    lines.forEach(onLine);
  }
  if (rest !== "") onLine(rest);
}
