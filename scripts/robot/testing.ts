/**
 * Tools for arms as processes, for their tests: with what their tasks in deno.json grant, no more.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

const PERMISSIONS = ["read", "write", "env", "sys", "ffi"].map((name) => `--allow-${name}`);

/** How a tool ended. */
export interface ToolEnd {
  /** Its exit code. */
  readonly code: number;
  /** All of its stdout. */
  readonly stdout: string;
  /** All of its stderr. */
  readonly stderr: string;
}

/** A signal for a tool, and what it says right before. */
export interface ToolStop {
  /** Part of its stdout after which it is stopped. */
  readonly after: RegExp;
  /** The signal. */
  readonly signal: "SIGINT" | "SIGTERM";
}

/**
 * Run a tool to its end, nobody at its keyboard.
 *
 * @param script Below `scripts/`, such as `robot.ts`.
 * @param args Its arguments.
 * @param stop When it is stopped; not at all unless told.
 * @returns How it ended.
 */
export async function runTool(
  script: string,
  args: readonly string[],
  stop?: ToolStop,
): Promise<ToolEnd> {
  const path = fileURLToPath(new URL(`../${script}`, import.meta.url));
  await using process = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", ...PERMISSIONS, path, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1", TENDON_DXL_LIBRARY: "" },
  }).spawn();
  let stdout = "", hasStopped = false;
  const stderr = new Response(process.stderr).text();
  for await (const text of process.stdout.pipeThrough(new TextDecoderStream())) {
    stdout += text;
    if (stop === undefined || hasStopped || !stop.after.test(stdout)) continue;
    hasStopped = true;
    process.kill(stop.signal);
  }
  const { code } = await process.status;
  return { code, stdout, stderr: await stderr };
}
