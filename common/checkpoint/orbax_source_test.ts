import assert from "node:assert/strict";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { CheckpointError } from "./errors.ts";
import { openTensorSource } from "./open_source.ts";
import { openOrbaxZarr } from "./orbax_source.ts";
import { TempDir } from "./testing.ts";

const TINY = new URL(
  "../../tests/fixtures/checkpoint_formats/tiny_zarr/",
  import.meta.url,
).pathname;

const refuses = (promise: Promise<unknown>, message: RegExp) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof CheckpointError, String(error));
    assert.match(error.message, message);
    return true;
  });

async function copyTiny(dir: string): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(TINY)) {
    if (!isDirectory) await Deno.copyFile(join(TINY, name), join(dir, name));
  }
  const copy = async (from: string, to: string) => {
    await Deno.mkdir(to);
    for await (const { name, isDirectory } of Deno.readDir(from)) {
      if (isDirectory) await copy(join(from, name), join(to, name));
      else await Deno.copyFile(join(from, name), join(to, name));
    }
  };
  for (const name of ["a.w", "b.w", "c.w", "d.w", "e.w"]) {
    await copy(join(TINY, name), join(dir, name));
  }
}

/** Write one array of zarr v2, by default three float32 in one chunk that is not compressed. */
async function writeArray(
  dir: string,
  metadata: Record<string, unknown> = {},
  chunks: Readonly<Record<string, Uint8Array>> = { 0: new Uint8Array(12) },
): Promise<void> {
  await Deno.mkdir(join(dir, "w"), { recursive: true });
  const description = {
    zarr_format: 2,
    shape: [3],
    chunks: [3],
    dtype: "<f4",
    compressor: null,
    fill_value: null,
    order: "C",
    filters: null,
    ...metadata,
  };
  await Deno.writeTextFile(join(dir, "w/.zarray"), JSON.stringify(description));
  for (const [key, bytes] of Object.entries(chunks)) {
    await Deno.writeFile(join(dir, "w", key), bytes);
  }
}

Deno.test("openOrbaxZarr() says what is wrong with a description", async (t) => {
  const cases: readonly [string, Record<string, unknown>, RegExp][] = [
    ["version", { zarr_format: 4 }, /w\/\.zarray: its zarr_format is not what zarr allows/],
    ["shape", { shape: [-3] }, /its shape\.0 is not what zarr allows/],
    ["axes", { chunks: [3, 1] }, /its shape has 1 axes, its chunks have 2/],
    ["no chunk", { chunks: [0] }, /its chunks\.0 is not what zarr allows/],
    ["many chunks", { shape: [2 ** 40], chunks: [1] }, /it has 1099511627776 chunks, the limit/],
    ["huge", { shape: [2 ** 50, 2 ** 20], chunks: [2 ** 50, 2 ** 20] }, /beyond any memory/],
    ["order", { order: "A" }, /its order is not what zarr allows/],
    ["codec", { compressor: { id: "lzma" } }, /its codec is lzma, which is not read/],
    ["prototype", { compressor: { id: "constructor" } }, /its codec is constructor/],
    ["filters", { filters: [{ id: "delta" }] }, /it has filters, which are not read/],
    ["fill", { fill_value: [1] }, /its fill_value is \[1\]/],
    ["bytes", { shape: [2 ** 20], chunks: [2 ** 20] }, /claims 4194304 bytes, which its 12 stored/],
  ];
  for (const [name, metadata, message] of cases) {
    await t.step(name, async () => {
      using dir = new TempDir();
      await writeArray(dir.path, metadata);
      await refuses(openOrbaxZarr(dir.path), message);
    });
  }
});

Deno.test("openOrbaxZarr() lists arrays of other numbers apart", async () => {
  using dir = new TempDir();
  await writeArray(dir.path, { dtype: "<i8" });
  using source = await openOrbaxZarr(dir.path);
  assert.deepEqual(source.tensors, []);
  assert.deepEqual(source.skipped.map(({ name, reason }) => [name, reason]), [
    ["w", 'its dtype is "<i8", not a float that is read'],
  ]);
});

Deno.test("blocks() names the chunk that is damaged", async (t) => {
  const zstd = { compressor: { id: "zstd", level: 1 } };
  const packed = (length: number) => new Uint8Array(zstdCompressSync(new Uint8Array(length)));
  const blosc = { compressor: { id: "blosc", cname: "lz4", clevel: 5, shuffle: 1, blocksize: 0 } };
  const bloscBomb = new Uint8Array(16);
  bloscBomb.set([2, 1, 0, 4]);
  new DataView(bloscBomb.buffer).setUint32(4, 2 ** 31, true);
  const cases: readonly [string, Record<string, unknown>, Uint8Array, RegExp][] = [
    ["short", {}, new Uint8Array(8), /w\/0: the chunk is damaged/],
    ["long", {}, new Uint8Array(16), /w\/0: the chunk is damaged/],
    ["no zstd", zstd, new Uint8Array(12), /w\/0: the chunk is damaged/],
    ["less", zstd, packed(8), /w\/0: the chunk is damaged/],
    ["bomb", zstd, packed(1 << 26), /w\/0: the chunk is damaged/],
    ["blosc", blosc, bloscBomb, /its Blosc frame claims 0 bytes that become 2147483648/],
  ];
  for (const [name, metadata, chunk, message] of cases) {
    await t.step(name, async () => {
      using dir = new TempDir();
      await writeArray(dir.path, metadata, { 0: chunk });
      using source = await openOrbaxZarr(dir.path);
      await refuses(source.read("w"), message);
      await refuses(Array.fromAsync(source.blocks("w", 4)), message); // the streaming way
    });
  }
});

Deno.test("read() compares the checksums that zarr stores", async () => {
  for (const [name, file] of [["e/w", "e.w/c/0"], ["c/w", "c.w/c/0/0"]]) {
    using dir = new TempDir();
    await copyTiny(dir.path);
    const path = join(dir.path, file);
    const bytes = await Deno.readFile(path);
    bytes[bytes.length - 1] ^= 1;
    await Deno.writeFile(path, bytes);
    using source = await openTensorSource(dir.path);
    await refuses(
      source.read(name),
      /the chunk is damaged \(its checksum is \d+, but \d+ is stored/,
    );
  }
});

Deno.test("openTensorSource() misses chunks and arrays that Orbax says it wrote", async () => {
  using dir = new TempDir();
  await copyTiny(dir.path);
  await Deno.remove(join(dir.path, "b.w/1"));
  await refuses(openTensorSource(dir.path), /b\.w\/\.zarray: array "b\.w" misses its chunk 1/);
  await Deno.remove(join(dir.path, "b.w"), { recursive: true });
  await refuses(openTensorSource(dir.path), /1 of the arrays .* missing, the first is "b\.w"/);
  await Deno.writeTextFile(join(dir.path, "_METADATA"), '{"tree_metadata": 3}');
  await refuses(openTensorSource(dir.path), /_METADATA: tree_metadata is not what Orbax writes/);
  await Deno.writeTextFile(join(dir.path, "_METADATA"), "{");
  await refuses(openTensorSource(dir.path), /_METADATA: it is not JSON/);
});

Deno.test("openTensorSource() reads chunks that an old checkpoint left out as zeros, within bounds", async () => {
  using dir = new TempDir();
  await writeArray(dir.path, { shape: [5], chunks: [2] }, { 1: new Uint8Array(8).fill(63) });
  using source = await openOrbaxZarr(dir.path);
  const [, , third, , fifth] = (await source.read("w")).data;
  assert.ok(third > 0.7 && fifth === 0);
  await writeArray(dir.path, { shape: [2 ** 28], chunks: [2 ** 28] }, {});
  await Deno.remove(join(dir.path, "w/1"));
  await refuses(openOrbaxZarr(dir.path), /array "w" misses 1 or more of its 1 chunks/);
});

Deno.test("openTensorSource() takes the parts of names from Orbax's metadata", async () => {
  using dir = new TempDir();
  await copyTiny(dir.path);
  const path = join(dir.path, "_METADATA");
  const text = await Deno.readTextFile(path);
  await Deno.writeTextFile(
    path,
    text.replace('[{"key": "a", "key_type": 2}, {"key": "w"', '[{"key": "a.w"'),
  );
  using source = await openTensorSource(dir.path);
  assert.equal(source.tensors[0].name, "a.w");
  await refuses(source.read("none"), /it has no tensor "none"/);
});
