/**
 * Runs `fast_reference.py`: FAST by the libraries that its own processor is made of, where a Python
 * with them is at hand.
 * @module
 */

import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { FastTokenizer } from "../../common/tokenizer/fast.ts";

const SCRIPT = fileURLToPath(new URL("fast_reference.py", import.meta.url));

const replySchema = z.object({
  ids: z.array(z.array(z.int())),
  actions: z.array(z.array(z.number())),
  encodeUs: z.array(z.number()),
  decodeUs: z.array(z.number()),
});

/** What Python answered. */
export interface FastReference {
  /** FAST ids of each chunk. */
  readonly ids: readonly (readonly number[])[];
  /** Each chunk decoded again, `[H, A]`. */
  readonly actions: readonly (readonly number[])[];
  /** Microseconds a chunk takes to encode, one mean a round. */
  readonly encodeUs: readonly number[];
  /** Microseconds a chunk takes to decode, one mean a round. */
  readonly decodeUs: readonly number[];
}

/** Chunks of one shape. */
export interface ChunkSet {
  /** H. */
  readonly horizon: number;
  /** A. */
  readonly actionDim: number;
  /** Normalised actions, each `[H, A]`. */
  readonly chunks: readonly Float32Array[];
}

/**
 * Why the reference cannot run, or null if it can. The interpreter is `TENDON_PYTHON` or python3.
 */
export async function missingPython(): Promise<string | null> {
  const command = pythonCommand();
  const { state } = await Deno.permissions.query({ name: "run", command });
  if (state !== "granted") return `this program may not run ${command} (give it --allow-run)`;
  try {
    const { success } = await new Deno.Command(command, {
      args: ["-c", "import numpy, scipy.fft, tokenizers"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success
      ? null
      : `${command} lacks numpy, scipy or tokenizers (pip install numpy scipy tokenizers)`;
  } catch {
    return `there is no ${command} (install Python, or name it in TENDON_PYTHON)`;
  }
}

/**
 * Let Python load a tokenizer that we wrote, encode and decode chunks with it, and time both.
 *
 * @param tokenizer Written to a temporary folder.
 * @param set The chunks.
 * @param repeats Rounds to time, at least 1.
 * @throws {Error} If Python fails.
 */
export async function runFastReference(
  tokenizer: FastTokenizer,
  { horizon, actionDim, chunks }: ChunkSet,
  repeats: number,
): Promise<FastReference> {
  const dir = await Deno.makeTempDir({ prefix: "fast_reference_" });
  try {
    await tokenizer.save(dir);
    const child = new Deno.Command(pythonCommand(), {
      args: [SCRIPT, dir, `${repeats}`],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const output = child.output();
    const encoded = chunks.map((chunk) =>
      new Uint8Array(chunk.slice().buffer as ArrayBuffer).toBase64()
    );
    const writer = child.stdin.getWriter();
    const task = JSON.stringify({ horizon, actionDim, chunks: encoded });
    await writer.write(new TextEncoder().encode(task));
    await writer.close();
    const { success, stdout, stderr } = await output;
    if (!success) {
      const said = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
      throw new Error(`Cannot run the FAST reference: ${pythonCommand()} says ${said}`);
    }
    return replySchema.parse(JSON.parse(new TextDecoder().decode(stdout)));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function pythonCommand(): string {
  return Deno.env.get("TENDON_PYTHON") ?? "python3";
}
