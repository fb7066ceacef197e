import assert from "node:assert/strict";
import { join } from "node:path";
import { readSourceFiles, ROOT, topLevelFolders } from "./source_files.ts";

const MAX_LINES = 500;

Deno.test("no TypeScript file is longer than 500 lines", async () => {
  const long = (await readSourceFiles())
    .map(({ path, text }) => ({ path, lines: text.trimEnd().split("\n").length }))
    .filter(({ lines }) => lines > MAX_LINES)
    .map(({ path, lines }) => `${path} has ${lines} lines`);
  assert.deepEqual(long, []);
});

Deno.test("every TypeScript file and folder has a snake_case name", async () => {
  const odd = (await readSourceFiles())
    .map(({ path }) => path)
    .filter((path) => !/^([a-z0-9_]+\/)+[a-z0-9_]+(\.d)?\.ts$/.test(path));
  assert.deepEqual(odd, []);
});

Deno.test("the README's tree names every top-level folder", async () => {
  const readme = await Deno.readTextFile(join(ROOT, "README.md"));
  const missing = (await topLevelFolders()).filter((name) => !readme.includes(`${name}/`));
  assert.deepEqual(missing, []);
});
