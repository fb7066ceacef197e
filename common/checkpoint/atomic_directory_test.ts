import assert from "node:assert/strict";
import { join } from "node:path";
import { sweepLeftovers, writeDirectory, writeDurably } from "./atomic_directory.ts";
import { TempDir } from "./testing.ts";

const UUID = "0e3b5c1e-6f43-4b5e-9a35-1d6c0f1a2b3c";

async function namesIn(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name).sort();
}

Deno.test("writeDirectory() shows nothing until all is written", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "out");
  await writeDirectory(path, async (temporary) => {
    await writeDurably(join(temporary, "a/b"), Uint8Array.of(1, 2));
    await assert.rejects(Deno.stat(path), Deno.errors.NotFound);
  });
  assert.deepEqual(await Deno.readFile(join(path, "a/b")), Uint8Array.of(1, 2));
  assert.deepEqual(await namesIn(dir.path), ["out"]);
});

Deno.test("writeDirectory() may write siblings at the same time", async () => {
  using dir = new TempDir();
  await Promise.all(["a", "b", "c"].map((name) =>
    writeDirectory(
      join(dir.path, name),
      (temporary) => writeDurably(join(temporary, "x"), new TextEncoder().encode(name)),
    )
  ));
  assert.deepEqual(await namesIn(dir.path), ["a", "b", "c"]);
});

Deno.test("sweepLeftovers() removes partial directories and nothing else", async () => {
  using dir = new TempDir();
  const keep = [".hidden", `.a.partial-${UUID}x`, `a.partial-${UUID}`, "step_1"];
  for (const name of [...keep, `.step_2.partial-${UUID}`]) await Deno.mkdir(join(dir.path, name));
  assert.deepEqual(await sweepLeftovers(dir.path), [`.step_2.partial-${UUID}`]);
  assert.deepEqual(await namesIn(dir.path), keep.sort());
});

Deno.test("sweepLeftovers() puts back a directory whose replacement never came", async () => {
  using dir = new TempDir();
  await Deno.mkdir(join(dir.path, `.step_2.replaced-${UUID}`));
  await Deno.writeTextFile(join(dir.path, `.step_2.replaced-${UUID}`, "x"), "old");
  await sweepLeftovers(dir.path);
  assert.equal(await Deno.readTextFile(join(dir.path, "step_2/x")), "old");
});

Deno.test("sweepLeftovers() drops a replaced directory once its replacement is there", async () => {
  using dir = new TempDir();
  await Deno.mkdir(join(dir.path, "step_2"));
  await Deno.mkdir(join(dir.path, `.step_2.replaced-${UUID}`));
  await sweepLeftovers(dir.path);
  assert.deepEqual(await namesIn(dir.path), ["step_2"]);
});
