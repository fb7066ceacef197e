import assert from "node:assert/strict";
import { join } from "node:path";
import type { Logger } from "../types.ts";
import type { Tuning } from "./tuner.ts";
import { cacheFolder, openTuningStore } from "./tuning_store.ts";

const TUNING: Tuning = {
  matvec: { threads: 256, rows: 4, usesSubgroups: true },
  matmul: "float16",
  gigabytesPerSecond: 612.5,
  teraflops: 38.25,
};

function listen(): { logger: Logger; warnings: string[] } {
  const warnings: string[] = [];
  const logger = { info: () => {}, warn: (m: string) => void warnings.push(m), error: () => {} };
  return { logger, warnings };
}

async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("openTuningStore() gives back what it was given, by key, over restarts", async () => {
  await withFolder(async (folder) => {
    const { logger, warnings } = listen();
    const cache = join(folder, "not", "there");
    const store = openTuningStore(cache, logger);
    assert.equal(await store.read("a"), undefined);
    await store.write("a", TUNING);
    await store.write("b", { ...TUNING, matmul: "int8" });
    await store.write("a", { ...TUNING, teraflops: 1 });
    const again = openTuningStore(cache, logger);
    assert.deepEqual(await again.read("a"), { ...TUNING, teraflops: 1 });
    assert.equal((await again.read("b"))?.matmul, "int8");
    assert.equal(await again.read("toString"), undefined);
    assert.deepEqual(warnings, []);
    const names = [...Deno.readDirSync(cache)].map(({ name }) => name);
    assert.deepEqual(names, ["tuning.json"]); // no temporary file is left
  });
});

Deno.test("openTuningStore() forgets the oldest answers", async () => {
  await withFolder(async (folder) => {
    const store = openTuningStore(folder, listen().logger);
    for (let i = 0; i < 34; i++) await store.write(`key ${i}`, TUNING);
    assert.equal(await store.read("key 1"), undefined);
    assert.deepEqual(await store.read("key 2"), TUNING);
  });
});

Deno.test("openTuningStore() goes on without a file that makes no sense, and replaces it", async () => {
  const bad = [
    "",
    "{",
    "[]",
    '{"version":2,"entries":{}}',
    '{"version":1,"entries":{"a":{"matmul":"int3"}}}',
    JSON.stringify({
      version: 1,
      entries: { a: { ...TUNING, matvec: { ...TUNING.matvec, threads: 1e9 } } },
    }),
  ];
  for (const text of bad) {
    await withFolder(async (folder) => {
      const { logger, warnings } = listen();
      await Deno.writeTextFile(join(folder, "tuning.json"), text);
      const store = openTuningStore(folder, logger);
      assert.equal(await store.read("a"), undefined);
      assert.match(warnings[0], /^Cannot understand .+tuning\.json: kernels are tuned anew/);
      await store.write("a", TUNING);
      assert.deepEqual(await store.read("a"), TUNING);
    });
  }
});

Deno.test("openTuningStore() goes on where it can neither read nor write", async () => {
  await withFolder(async (folder) => {
    const { logger, warnings } = listen();
    // A file in the place of the folder: so it is refused to root as well.
    const file = join(folder, "file");
    await Deno.writeTextFile(file, "");
    const store = openTuningStore(file, logger);
    await store.write("a", TUNING);
    assert.match(warnings.at(-1)!, /^Cannot write .+: kernels are tuned at every start$/);
    assert.equal(await store.read("a"), undefined);
    // A folder in the place of the file.
    await Deno.mkdir(join(folder, "tuning.json"));
    assert.equal(await openTuningStore(folder, logger).read("a"), undefined);
    assert.match(warnings.at(-1)!, /^Cannot read .+: kernels are tuned anew$/);
  });
});

Deno.test("cacheFolder() follows each system's habits, and its own variable first", () => {
  const env = (values: Record<string, string>) => ({ get: (name: string) => values[name] });
  const all = { TENDON_CACHE_DIR: "/t", XDG_CACHE_HOME: "/x", HOME: "/h", LOCALAPPDATA: "/l" };
  assert.equal(cacheFolder(env(all), "linux"), "/t");
  assert.equal(cacheFolder(env({ ...all, TENDON_CACHE_DIR: "" }), "linux"), join("/x", "tendon"));
  assert.equal(cacheFolder(env({ HOME: "/h" }), "darwin"), join("/h", ".cache", "tendon"));
  assert.equal(
    cacheFolder(env({ LOCALAPPDATA: "/l", HOME: "/h" }), "windows"),
    join("/l", "tendon"),
  );
  assert.equal(cacheFolder(env({}), "linux"), undefined);
  assert.equal(cacheFolder(env({ HOME: "/h" }), "windows"), undefined);
});
