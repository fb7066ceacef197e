/**
 * A controller as a process of its own, which can be killed.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

/** What its task in deno.json grants. */
const PERMISSIONS = [
  ...["read", "write", "net", "env", "sys", "ffi"].map((name) => `--allow-${name}`),
  "--allow-run=ffmpeg",
];

/** A running controller. Disposing of it kills it. */
export class ControllerChild implements AsyncDisposable {
  /** What it has said, oldest first. */
  readonly lines: string[] = [];
  readonly #process: Deno.ChildProcess;
  readonly #ended: Promise<void>;
  #hasEnded = false;

  /**
   * Start one.
   *
   * @param args Its flags.
   * @param onLine Called with each line that it says.
   */
  constructor(args: readonly string[], onLine: (line: string) => void = () => {}) {
    const main = fileURLToPath(new URL("../../controller/main.ts", import.meta.url));
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", ...PERMISSIONS, main, ...args],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.#ended = this.#read(onLine);
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** Whether it has ended. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Kill it, if it still runs, and wait for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded) {
      try {
        this.#process.kill("SIGKILL");
      } catch {
        // It has just ended.
      }
    }
    await this.#ended;
  }

  async #read(onLine: (line: string) => void): Promise<void> {
    const lines = this.#process.stderr.pipeThrough(new TextDecoderStream());
    let rest = "";
    for await (const text of lines) {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) {
        this.lines.push(line);
        onLine(line);
      }
    }
    await this.#process.status;
    this.#hasEnded = true;
  }
}
