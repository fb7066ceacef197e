import assert from "node:assert/strict";
import { join } from "node:path";
import { CheckpointError } from "./errors.ts";
import { writeSafetensors } from "./safetensors.ts";
import { openSafetensorsSource, openShardedSafetensors } from "./safetensors_source.ts";
import { countingTensor, TempDir } from "./testing.ts";

const INDEX = "model.safetensors.index.json";

async function writeShards(
  dir: string,
  shards: Readonly<Record<string, readonly string[]>>,
  index: unknown,
): Promise<string> {
  for (const [file, names] of Object.entries(shards)) {
    await writeSafetensors(join(dir, file), names.map((name) => countingTensor(name, [2])));
  }
  const path = join(dir, INDEX);
  await Deno.writeTextFile(path, typeof index === "string" ? index : JSON.stringify(index));
  return path;
}

Deno.test("openShardedSafetensors() compares every shard with the index", async (t) => {
  const map = (weight_map: Record<string, string>) => ({ weight_map });
  const ab = map({ a: "1.safetensors", b: "2.safetensors" });
  const shards = (one: string[], two: string[]) => ({ "1.safetensors": one, "2.safetensors": two });
  const cases: readonly [string, Record<string, string[]>, unknown, RegExp][] = [
    ["missing shard", { "1.safetensors": ["a"] }, ab, /2\.safetensors: there is no such file/],
    [
      "wrong shard",
      shards(["a", "b"], []),
      ab,
      /1\.safetensors: it holds tensor "b", which .*index\.json puts into 2\.safetensors/,
    ],
    ["twice", shards(["a"], ["a", "b"]), ab, /2\.safetensors: tensor "a" is in 1\.safetensors/],
    ["not in shard", shards(["a"], []), ab, /2\.safetensors: it misses tensor "b"/],
    ["not in index", shards(["a", "c"], ["b"]), ab, /tensor "c", which .* does not name/],
    ["outside", {}, map({ a: "../1.safetensors" }), /"\.\.\/1\.safetensors", which is not a file/],
    ["not JSON", {}, "{", /index\.json: it is not JSON/],
    ["no map", {}, { weight_map: [3] }, /it has no weight_map/],
    ["empty", {}, map({}), /it names no tensor/],
  ];
  for (const [name, files, index, message] of cases) {
    await t.step(name, async () => {
      using dir = new TempDir();
      await assert.rejects(
        openShardedSafetensors(await writeShards(dir.path, files, index)),
        (e) => {
          assert.ok(e instanceof CheckpointError, String(e));
          assert.match(e.message, message);
          return true;
        },
      );
    });
  }
});

Deno.test("openSafetensorsSource() lists integers apart but still checks where they lie", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "model.safetensors");
  const write = async (end: number) => {
    const json = JSON.stringify({
      step: { dtype: "I64", shape: [1], data_offsets: [0, end] },
      w: { dtype: "BF16", shape: [2], data_offsets: [8, 12] },
    });
    const bytes = new Uint8Array(8 + json.length + 12);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
    bytes.set(new TextEncoder().encode(json), 8);
    bytes.set([0x80, 0x3f, 0, 0xc0], bytes.length - 4); // 1 and -2
    await Deno.writeFile(path, bytes);
  };
  await write(8);
  using source = await openSafetensorsSource(path);
  assert.deepEqual(source.skipped, [
    { name: "step", reason: 'its dtype is "I64", not a float that is read', file: path },
  ]);
  assert.deepEqual([...(await source.read("w")).data], [1, -2]);
  await write(7);
  await assert.rejects(openSafetensorsSource(path), /tensors must neither overlap nor leave gaps/);
});

Deno.test("blocks() notices a file that has become shorter since it was opened", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "model.safetensors");
  const size = await writeSafetensors(path, [countingTensor("w", [100])]);
  using source = await openSafetensorsSource(path);
  await Deno.truncate(path, size - 1);
  await assert.rejects(source.read("w"), (error) => {
    assert.ok(error instanceof CheckpointError);
    assert.match(error.message, /model\.safetensors: bytes \d+ to \d+ are wanted, but it ends at/);
    return true;
  });
});
