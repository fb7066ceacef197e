/**
 * Tendon's programs as processes: started, listened to and, if need be, killed.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { TextLineStream } from "./text_lines.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** What deno.json's tasks grant. */
const PERMISSIONS = ["read", "write", "net", "env", "sys", "ffi"].map((name) => `--allow-${name}`);

/** Programs that may start others: the controller reads its cameras by ffmpeg. */
const RUNS: Readonly<Record<string, readonly string[]>> = {
  "controller/main.ts": ["--allow-run=ffmpeg"],
};

/** Longest wait for anything a program is to do, in milliseconds: it may have slow cores. */
const DEADLINE_MS = 120_000;

/** A line of `--json`. */
export type ProgramEvent = Readonly<Record<string, unknown>> & { readonly event: string };

/** How a program ended. */
export interface ProgramEnd {
  /** Its exit code. */
  readonly code: number;
  /** All of its stdout. */
  readonly stdout: string;
  /** All of its stderr. */
  readonly stderr: string;
}

/** A running program. Dispose of it to kill it. */
export class Program implements AsyncDisposable {
  /** Events so far. */
  readonly events: ProgramEvent[] = [];
  readonly #name: string;
  readonly #process: Deno.ChildProcess;
  readonly #errors: string[] = [];
  readonly #end: Promise<ProgramEnd>;
  #hasEnded = false;
  #changed = Promise.withResolvers<void>();

  /**
   * Start a program.
   * @param script Path below the project's root, such as `learner/main.ts`.
   * @param args Its arguments.
   */
  constructor(script: string, args: readonly string[]) {
    this.#name = script;
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", ...PERMISSIONS, ...(RUNS[script] ?? []), script, ...args],
      cwd: ROOT,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      env: { WANDB_API_KEY: "", NO_COLOR: "1" },
    }).spawn();
    this.#end = this.#collect();
  }

  /** Its warnings and errors so far. */
  get stderr(): string {
    return this.#errors.join("\n");
  }

  /**
   * Wait for an event.
   * @param name Its name.
   * @param accepts Which one of that name.
   * @throws Error if the program ends first or takes too long.
   */
  async event(
    name: string,
    accepts: (event: ProgramEvent) => boolean = () => true,
  ): Promise<ProgramEvent> {
    const find = () => this.events.find((e) => e.event === name && accepts(e));
    await this.#until(`event ${name}`, () => this.#hasEnded || find() !== undefined);
    const found = find();
    if (!found) throw new Error(`${this.#name} ended without event ${name}:\n${this.stderr}`);
    return found;
  }

  /**
   * Wait until it has ended.
   * @throws Error if it takes too long.
   */
  async end(): Promise<ProgramEnd> {
    await this.#until("its end", () => this.#hasEnded);
    return await this.#end;
  }

  async #until(what: string, claim: () => boolean): Promise<void> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#wake();
    }, DEADLINE_MS);
    while (!claim() && !isLate) await this.#changed.promise;
    clearTimeout(timer);
    if (!claim()) throw new Error(`${this.#name} is late with ${what}:\n${this.stderr}`);
  }

  /** Kill it as the system does when memory runs out: it can do nothing about it. */
  async kill(): Promise<void> {
    if (!this.#hasEnded) this.#process.kill("SIGKILL");
    await this.#end;
  }

  /**
   * Ask it to stop in good order.
   * @param signal As a service manager does, or as Ctrl-C does.
   */
  stop(signal: "SIGTERM" | "SIGINT" = "SIGTERM"): void {
    this.#process.kill(signal);
  }

  /** Kill it if it still runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #collect(): Promise<ProgramEnd> {
    const lines: string[] = [];
    const read = async (
      stream: ReadableStream<Uint8Array<ArrayBuffer>>,
      take: (line: string) => void,
    ) => {
      for await (const line of stream.pipeThrough(new TextLineStream())) {
        take(line);
        this.#wake();
      }
    };
    const [status] = await Promise.all([
      this.#process.status,
      read(this.#process.stdout, (line) => {
        lines.push(line);
        if (line.startsWith("{")) this.events.push(JSON.parse(line));
      }),
      read(this.#process.stderr, (line) => this.#errors.push(line)),
    ]);
    this.#hasEnded = true;
    this.#wake();
    return { code: status.code, stdout: lines.join("\n"), stderr: this.stderr };
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

/** Run a program to its end. */
export async function runProgram(script: string, args: readonly string[]): Promise<ProgramEnd> {
  await using program = new Program(script, args);
  return await program.end();
}

/**
 * Write a small imitation checkpoint.
 * @param folder Of all experiments.
 * @param args Further arguments of `scripts/pretrain.ts`.
 * @returns Its folder.
 * @throws Error if the program fails.
 */
export async function pretrain(
  folder: string,
  expName: string,
  args: readonly string[] = [],
): Promise<string> {
  const { code, stderr } = await runProgram("scripts/pretrain.ts", [
    ...["--checkpoint-dir", folder, "--exp-name", expName, "--device", "wasm"],
    ...["--episodes", "8", "--steps", "2", "--batch", "4", "--eval-episodes", "0"],
    ...args,
  ]);
  if (code !== 0) throw new Error(`Cannot pretrain: ${stderr}`);
  return `${folder}/${expName}/step_2`;
}
