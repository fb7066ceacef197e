/**
 * The frame around every program: signals, one sentence for a failure, and the exit code.
 *
 * @module
 */

import { UsageError } from "./flags.ts";

/** Exit codes of all programs; a program that a signal stopped ends with 128 + its number. */
export const EXIT_CODES = {
  ok: 0,
  failure: 1,
  usage: 2,
  interrupted: 130,
  terminated: 143,
} as const;

const SIGNALS = { SIGINT: EXIT_CODES.interrupted, SIGTERM: EXIT_CODES.terminated } as const;
type StopSignal = keyof typeof SIGNALS;

/**
 * A second signal within this time is the first one again, in ms: a terminal sends Ctrl-C to `deno task`
 * and to the program, and `deno task` hands it on.
 */
const SAME_PRESS_MS = 300;

/** What a thrown error of the runtime means to a person, and what to do about it. */
const ADVICE: readonly [new (...args: never[]) => Error, string][] = [
  [Deno.errors.AddrInUse, "choose another port, or 0 for any free one"],
  [Deno.errors.AddrNotAvailable, "choose an address of this machine with --host"],
  [Deno.errors.NotFound, "check the path"],
  [Deno.errors.PermissionDenied, "check who may read and write it"],
  [Deno.errors.NotCapable, "start the program through its deno task, which grants what it needs"],
  [Deno.errors.ConnectionRefused, "check that the other program runs and its address is right"],
  [Deno.errors.AlreadyExists, "remove it or choose another path"],
];

/**
 * Say in one line what went wrong.
 *
 * @param error Anything that was thrown.
 * @returns One sentence without a stack, ending in a full stop.
 */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return `Failed: ${String(error)}.`;
  const advice = ADVICE.find(([kind]) => error instanceof kind)?.[1];
  const message = error.message.replace(/\s*\n\s*/g, " ").trim().replace(/[.;,\s]+$/, "");
  const text = message === "" ? error.name : message;
  return advice === undefined ? `${text}.` : `${text}: ${advice}.`;
}

/**
 * Run a program and end the process with its exit code: 0, 1 for a failure, 2 for wrong usage.
 *
 * The first SIGINT or SIGTERM aborts the signal handed to `main`, which should then finish in good
 * order; a second one, 0.3 s later or more, ends the process at once. A `main` that returns after a signal ends with 0, one
 * that throws the signal's own reason ends with 130 or 143.
 *
 * @param main The program; it gets a signal that is aborted when it shall stop.
 * @returns Never: the process ends.
 */
export async function runMain(main: (signal: AbortSignal) => Promise<void>): Promise<never> {
  const controller = new AbortController();
  let firstMs = 0;
  const listeners = Object.entries(SIGNALS).map(([name, exitCode]) => {
    const listener = () => {
      if (controller.signal.aborted) {
        if (performance.now() - firstMs < SAME_PRESS_MS) return;
        Deno.exit(exitCode);
      }
      firstMs = performance.now();
      controller.abort(new DOMException(`Stopped by ${name}`, "AbortError"));
    };
    return { name: name as StopSignal, exitCode, listener };
  });
  for (const { name, listener } of listeners) Deno.addSignalListener(name, listener);
  try {
    await main(controller.signal);
    Deno.exit(EXIT_CODES.ok);
  } catch (error) {
    const stopped = listeners.find(({ name }) =>
      error === controller.signal.reason && error instanceof Error && error.message.endsWith(name)
    );
    console.error(describeError(error));
    if (stopped !== undefined) Deno.exit(stopped.exitCode);
    Deno.exit(error instanceof UsageError ? EXIT_CODES.usage : EXIT_CODES.failure);
  }
}
