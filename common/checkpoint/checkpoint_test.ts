import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import {
  checkpointPath,
  inspectCheckpoint,
  readCheckpoint,
  writeCheckpoint,
} from "./checkpoint.ts";
import { CheckpointError } from "./errors.ts";
import { latestCheckpoint } from "./latest.ts";
import { countingTensor, sampleContent, sampleInfo, TempDir } from "./testing.ts";

const PARAMS = "params/model.safetensors";
const CONFIG_FILE = new URL("../../deno.json", import.meta.url).pathname;

/** Asserts that reading fails with one CheckpointError of one line. */
async function assertUnreadable(dir: string, message: RegExp): Promise<void> {
  await assert.rejects(readCheckpoint(dir), (error) => {
    assert.ok(error instanceof CheckpointError, String(error));
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /\n/);
    return true;
  });
}

async function namesIn(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name).sort();
}

Deno.test("readCheckpoint() gives back what writeCheckpoint() stored", async () => {
  using dir = new TempDir();
  const path = checkpointPath(dir.path, "run", 5);
  const content = sampleContent();
  await writeCheckpoint(path, content);
  const read = await readCheckpoint(path);
  assert.deepEqual(read.actorBackbone, content.actorBackbone);
  assert.deepEqual(read.valueHead, content.valueHead);
  assert.deepEqual(read.optimizer, content.optimizer);
  assert.deepEqual(read.assets, content.assets);
  const { files, formatVersion, ...info } = read.metadata;
  assert.deepEqual(info, content.info);
  assert.equal(formatVersion, 1);
  assert.equal(files["assets/demo/norm_stats.json"], 10);
  assert.deepEqual(await namesIn(path), ["assets", "metadata.json", "params", "train_state"]);
});

Deno.test("readCheckpoint() leaves the value head of an imitation checkpoint undefined", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "il");
  const info = sampleInfo({ kind: "imitation" });
  await writeCheckpoint(
    path,
    sampleContent({ info, valueHead: undefined, optimizer: undefined, dtype: "F16" }),
  );
  const read = await readCheckpoint(path);
  assert.equal(read.valueHead, undefined);
  assert.equal(read.optimizer, undefined);
  assert.deepEqual(read.actorBackbone, sampleContent().actorBackbone); // exact in half precision
});

Deno.test("readCheckpoint() leaves out the optimiser on request", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "step_5");
  await writeCheckpoint(path, sampleContent());
  assert.equal((await readCheckpoint(path, { withOptimizer: false })).optimizer, undefined);
});

Deno.test("readCheckpoint() strips the /value that Orbax puts behind every name", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "step_5");
  await writeCheckpoint(
    path,
    sampleContent({
      actorBackbone: [countingTensor("PaliGemma/w/value", [2])],
      valueHead: [countingTensor("kernel/value", [2])],
    }),
  );
  const read = await readCheckpoint(path);
  assert.deepEqual(read.actorBackbone.map(({ name }) => name), ["PaliGemma/w"]);
  assert.deepEqual(read.valueHead?.map(({ name }) => name), ["kernel"]);
});

Deno.test("writeCheckpoint() refuses content that contradicts itself and writes nothing", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "step_5");
  const info = sampleInfo();
  const metrics = { loss: NaN };
  const cases = [
    [{ valueHead: undefined }, /kind actor_critic needs a value head, none is given/],
    [{ info: sampleInfo({ kind: "imitation" }) }, /kind imitation takes no value head, one/],
    [{ assets: new Map([["../evil", new Uint8Array()]]) }, /"..\/evil" is not a path below/],
    [{ info: { ...info, step: -1 } }, /Cannot store checkpoint metadata: step: /],
    [{ info: { ...info, training: { ...info.training, metrics } } }, /training.metrics.loss: /],
    [{ valueHead: [{ name: "k", shape: [3], data: new Float32Array(2) }] }, /takes 3/],
  ] as const;
  for (const [changes, message] of cases) {
    await assert.rejects(writeCheckpoint(path, sampleContent(changes)), (error) => {
      assert.ok(error instanceof RangeError);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.deepEqual(await namesIn(dir.path), []);
});

Deno.test("writeCheckpoint() replaces a checkpoint of the same name", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "step_5");
  await writeCheckpoint(path, sampleContent());
  const actorBackbone = [countingTensor("PaliGemma/w", [3])];
  await writeCheckpoint(path, sampleContent({ actorBackbone, assets: new Map() }));
  const read = await readCheckpoint(path);
  assert.deepEqual(read.actorBackbone, actorBackbone);
  assert.equal(read.assets.size, 0);
  assert.deepEqual(await namesIn(dir.path), ["step_5"]);
});

Deno.test("writeCheckpoint() keeps the old checkpoint when the new one fails half-way", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "step_5");
  await writeCheckpoint(path, sampleContent());
  const failing = { name: "w", shape: [1], load: () => Promise.reject(new Error("no memory")) };
  await assert.rejects(
    writeCheckpoint(path, sampleContent({ valueHead: [failing] })),
    /no memory/,
  );
  assert.deepEqual((await readCheckpoint(path)).valueHead, sampleContent().valueHead);
  assert.deepEqual(await namesIn(dir.path), ["step_5"]);
});

Deno.test("readCheckpoint() says in one sentence what is wrong with a damaged checkpoint", async (t) => {
  const edit = (name: string, change: (text: string) => string) => async (path: string) => {
    const file = join(path, name);
    // One character a byte, so that weights survive an edit of their header.
    const text = Array.from(
      await Deno.readFile(file),
      (byte) => String.fromCharCode(byte),
    ).join("");
    const edited = change(text);
    assert.notEqual(edited, text);
    await Deno.writeFile(file, Uint8Array.from(edited, (letter) => letter.charCodeAt(0)));
  };
  const remove = (name: string) => (path: string) =>
    Deno.remove(join(path, name), { recursive: true });
  const cases: readonly [string, (path: string) => Promise<void>, RegExp][] = [
    ["missing folder", remove(""), /there is no such folder; give the path of a step_<N> folder/],
    ["missing metadata", remove("metadata.json"), /metadata.json: there is no such file/],
    ["missing weights", remove(PARAMS), /params\/model.safetensors is missing; copy it again/],
    ["missing asset", remove("assets/tokenizer.json"), /assets\/tokenizer.json is missing/],
    ["bad JSON", edit("metadata.json", (text) => text.slice(9)), /metadata.json: it is not JSON/],
    [
      "other version",
      edit("metadata.json", (text) => text.replace('"formatVersion": 1', '"formatVersion": 2')),
      /its format version is 2, but this program reads 1; use the version of Tendon that wrote it/,
    ],
    ["no version", edit("metadata.json", () => "{}"), /its format version is none/],
    [
      "missing field",
      edit("metadata.json", (text) => text.replace('"horizon"', '"horizonn"')),
      /model.horizon: /,
    ],
    [
      "path outside",
      edit("metadata.json", (text) => text.replace("assets/tok", "../assets/tok")),
      /files: every path must stay below the checkpoint's folder/,
    ],
    [
      "other kind",
      edit("metadata.json", (text) => text.replace('"actor_critic"', '"imitation"')),
      /has tensors below value_head\/, but metadata.json says that its kind is imitation/,
    ],
    [
      "stranger",
      edit(PARAMS, (text) => text.replace("value_head/", "other_head/")),
      /tensor "other_head\/hidden\/kernel" is neither below actor_backbone\/ nor below value_head/,
    ],
    [
      "deep nesting",
      edit("metadata.json", (text) => {
        const deep = "[".repeat(50_000) + "]".repeat(50_000);
        return text.replace('"config": {', `"config": { "x": ${deep},`);
      }),
      /metadata.json: (its values are nested too deeply|it is not JSON)/,
    ],
  ];
  for (const [name, damage, message] of cases) {
    await t.step(name, async () => {
      using dir = new TempDir();
      const path = join(dir.path, "step_5");
      await writeCheckpoint(path, sampleContent());
      await damage(path);
      await assertUnreadable(path, message);
    });
  }
});

Deno.test("readCheckpoint() names the sizes of truncated weights", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "step_5");
  await writeCheckpoint(path, sampleContent());
  const { size } = await Deno.stat(join(path, PARAMS));
  await Deno.truncate(join(path, PARAMS), size - 3);
  await assertUnreadable(
    path,
    new RegExp(`it is truncated, ${size} bytes expected and ${size - 3} found`),
  );
});

Deno.test("readCheckpoint() answers any mutated file with a checkpoint or a CheckpointError", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "step_5");
  await writeCheckpoint(path, sampleContent());
  const files = ["metadata.json", PARAMS, "train_state/optimizer.safetensors"];
  const originals = await Promise.all(files.map((name) => Deno.readFile(join(path, name))));
  const edit = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), value: fc.nat(255) });
  await fc.assert(
    fc.asyncProperty(
      fc.nat(files.length - 1),
      fc.array(edit, { maxLength: 3 }),
      fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { freq: 3 }),
      async (which, edits, keep) => {
        const original = originals[which];
        const mutated = original.slice(0, Math.floor((keep ?? 1) * original.length));
        for (const { at, value } of edits) {
          if (mutated.length > 0) mutated[Math.floor(at * (mutated.length - 1))] = value;
        }
        await Deno.writeFile(join(path, files[which]), mutated);
        try {
          const { actorBackbone } = await readCheckpoint(path);
          assert.ok(actorBackbone.length > 0);
        } catch (error) {
          assert.ok(error instanceof CheckpointError, String(error));
        } finally {
          await Deno.writeFile(join(path, files[which]), original);
        }
      },
    ),
    { numRuns: 150, seed: 3 },
  );
});

Deno.test("a process killed while it writes leaves nothing that reads as a checkpoint", async () => {
  using dir = new TempDir();
  const step4 = checkpointPath(dir.path, "run", 4);
  const step5 = checkpointPath(dir.path, "run", 5);
  await writeCheckpoint(step4, sampleContent({ info: sampleInfo({ step: 4 }) }));

  // The child writes 16 MiB, says so, and never gets the second tensor.
  const module = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);
  const program = `
    import { writeCheckpoint } from ${module("./checkpoint.ts")};
    import { sampleContent } from ${module("./testing.ts")};
    const large = { name: "a", shape: [1 << 22], data: new Float32Array(1 << 22) };
    const stuck = { name: "b", shape: [1], load() {
      console.log("half");
      return new Promise((resolve) => setTimeout(resolve, 3600_000));
    } };
    await writeCheckpoint(${
    JSON.stringify(step5)
  }, sampleContent({ actorBackbone: [large, stuck] }));
  `;
  const source = join(dir.path, "child.ts");
  await Deno.writeTextFile(source, program);
  await using child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "-c", CONFIG_FILE, "--allow-read", "--allow-write", source],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  assert.equal(new TextDecoder().decode(value).trim(), "half");
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();

  await assertUnreadable(step5, /there is no such folder/);
  const experiment = join(dir.path, "run");
  const leftovers = await namesIn(experiment);
  assert.equal(leftovers.length, 2);
  await assertUnreadable(join(experiment, leftovers[0]), /metadata.json: there is no such file/);
  assert.equal((await latestCheckpoint(dir.path, "run")).path, step4);

  await writeCheckpoint(step5, sampleContent());
  assert.deepEqual(await namesIn(experiment), ["step_4", "step_5"]);
  assert.equal((await latestCheckpoint(dir.path, "run")).path, step5);
});

Deno.test("inspectCheckpoint() reads no weights", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "step_5");
  await writeCheckpoint(path, sampleContent());
  const { size } = await Deno.stat(join(path, PARAMS));
  await Deno.writeFile(join(path, PARAMS), new Uint8Array(size));
  assert.equal((await inspectCheckpoint(path)).step, 5);
});
