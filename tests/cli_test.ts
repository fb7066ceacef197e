/**
 * Every program as a process, started wrongly: one sentence, the right exit code, nothing written.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { kebabCase } from "../common/cli/command.ts";
import { CONFIG_FIELDS } from "../common/config/schema.ts";
import { pretrain, type ProgramEnd, runProgram } from "./program.ts";

const PROGRAMS = [
  "learner/main.ts",
  "controller/main.ts",
  "scripts/pretrain.ts",
  "scripts/eval.ts",
  "scripts/demo.ts",
  "scripts/bench.ts",
  "scripts/fuzz_checkpoints.ts",
].filter(isThere);

/** A flag's name where help lists it. */
const FLAG = /--(?:\[no-\])?([a-z0-9-]+)/;

function isThere(path: string): boolean {
  try {
    return Deno.statSync(fileURLToPath(new URL(`../${path}`, import.meta.url))).isFile;
  } catch {
    return false;
  }
}

/** One sentence on stderr, no stack, and the exit code. Progress lines before it are fine. */
function assertFails(end: ProgramEnd, code: number, sentence: RegExp): void {
  assert.equal(end.code, code, end.stderr);
  assert.doesNotMatch(end.stderr, /^\s+at |\bTypeError\b|Uncaught/m);
  const lines = end.stderr.split("\n").filter((line) => !/^\S+ (INFO|WARN) /.test(line));
  assert.equal(lines.length, 1, end.stderr);
  assert.match(lines[0], sentence);
  assert.match(lines[0], /^[A-Z-].*[.?]$/);
}

/** Every path below a folder with its size, to see that nothing was written. */
async function listing(folder: string): Promise<string[]> {
  const out: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) out.push(path, ...await listing(path));
    else out.push(`${path} ${(await Deno.stat(path)).size}`);
  }
  return out.sort();
}

for (const program of PROGRAMS) {
  Deno.test(`${program} --help lists its flags with default and unit`, async () => {
    const { code, stdout, stderr } = await runProgram(program, ["--help"]);
    assert.equal(code, 0, stderr);
    assert.equal(stderr, "");
    // A line may be broken anywhere between words.
    const words = (block: string) => block.replace(/\s+/g, " ");
    const blocks = stdout.split(/\n(?= {2}--)/).slice(1);
    const names = blocks.map((block) => FLAG.exec(block)![1]);
    assert.equal(new Set(names).size, names.length);
    for (const [i, block] of blocks.entries()) {
      if (names[i] !== "help") assert.match(words(block), /\[default \S.*\]/);
    }
    const isWhole = program.endsWith("/main.ts");
    for (const { name, unit, kind } of CONFIG_FIELDS) {
      const at = names.indexOf(kebabCase(name));
      if (isWhole) assert.ok(at >= 0, `${name} is not listed`);
      const isMeasured = unit !== "" && (kind === "integer" || kind === "number");
      if (at >= 0 && isMeasured) assert.ok(words(blocks[at]).includes(unit), `${name} has no unit`);
    }
    // A flag in snake_case is understood: its value is refused, under the flag's proper name.
    const measured = blocks.findIndex((block) => /^ {2}--[a-z]+-[a-z-]+ N\n/.test(block));
    if (measured < 0) return; // no name of two words to try
    const snake = names[measured].replaceAll("-", "_");
    const end = await runProgram(program, [`--${snake}=x`]);
    assertFails(end, 2, new RegExp(`^Invalid --${names[measured]}: it is "x", but it takes an? `));
  });

  Deno.test(`${program} refuses a wrong command line with code 2 and one sentence`, async () => {
    const cases: [string[], RegExp][] = [
      [["--sede", "3"], /^Unknown flag --sede: did you mean --seed/],
      [
        ["--config", "demi"],
        /^Unknown preset "demi": --config takes one of debug, full, demo, transfer_cube/,
      ],
      [["--seed=-1"], /--seed.* -1, but it takes an integer from 0/],
    ];
    for (const [args, sentence] of cases) {
      assertFails(await runProgram(program, args), 2, sentence);
    }
  });
}

Deno.test("programs that fail at the start leave nothing behind", async (t) => {
  const folder = await Deno.makeTempDir({ prefix: "tendon-cli-" });
  const socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const taken = String(socket.addr.port);
  const base = ["--checkpoint-dir", folder, "--exp-name", "run", "--device", "wasm"];
  try {
    const good = await pretrain(folder, "good");
    const truncated = `${folder}/truncated`;
    await Deno.rename(await pretrain(folder, "cut"), truncated);
    const weights = `${truncated}/params/model.safetensors`;
    await Deno.truncate(weights, (await Deno.stat(weights)).size - 7);
    const before = await listing(folder);

    const fail = async (program: string, args: string[], sentence: RegExp) => {
      assertFails(await runProgram(program, [...base, ...args]), 1, sentence);
      assert.deepEqual(await listing(folder), before);
    };
    for (const [program, port] of [["learner", "--port"], ["controller", "--controller-port"]]) {
      const main = `${program}/main.ts`;
      const free = ["--port", "0", "--controller_port", "0"];
      await t.step(
        `${program}: missing checkpoint`,
        () => fail(main, [...free, "--checkpoint", `${folder}/nowhere`], /nowhere/),
      );
      await t.step(
        `${program}: truncated checkpoint`,
        () =>
          fail(
            main,
            [...free, "--checkpoint", truncated, "--on-load-failure", "abort"],
            /truncated/,
          ),
      );
      await t.step(
        `${program}: nothing to resume`,
        () => fail(main, [...free, "--resume"], /^Cannot resume: there is no checkpoint of .* run/),
      );
      await t.step(
        `${program}: a checkpoint of another model`,
        () =>
          fail(
            main,
            [...free, "--checkpoint", good, "--horizon", "9"],
            /horizon is \d+, .* says 9/,
          ),
      );
      await t.step(
        `${program}: port in use`,
        () => fail(main, [...free, "--checkpoint", good, port, taken], /the port is in use/),
      );
      await t.step(
        `${program}: token file that is not there`,
        () =>
          fail(main, [...free, "--checkpoint", good, "--token-file", `${folder}/no`], /token file/),
      );
    }
    await t.step("learner: database that cannot be opened", async () => {
      const end = await runProgram("learner/main.ts", [
        ...[...base, "--port", "0", "--checkpoint", good, "--database-url", `${folder}/no/runs.db`],
      ]);
      assertFails(end, 1, /^Cannot open the database/);
      assert.deepEqual(await listing(folder), before);
    });
    await t.step(
      "pretrain: more action tokens than the model has room for",
      () =>
        fail("scripts/pretrain.ts", [
          ...["--episodes", "4", "--steps", "1", "--batch", "2", "--eval-episodes", "0"],
          ...["--fast-vocab", "16"],
        ], /^Cannot fit the tokenizer: .*vocabSize is 16; raise it/),
    );
    await t.step(
      "pretrain: rounds where no policy drives",
      () => fail("scripts/pretrain.ts", ["--rounds", "2"], /^Cannot record reach in 2 rounds: /),
    );
    await t.step(
      "pretrain: more rounds than steps",
      () =>
        fail(
          "scripts/pretrain.ts",
          ["--task", "transfer_cube", "--rounds", "3", "--steps", "2"],
          /^Cannot divide 2 gradient steps among 3 rounds: /,
        ),
    );
  } finally {
    socket.close();
    await Deno.remove(folder, { recursive: true });
  }
});
