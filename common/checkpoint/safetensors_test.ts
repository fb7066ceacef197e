import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import type { HostTensor } from "../types.ts";
import { CheckpointError } from "./errors.ts";
import { openSafetensors, readSafetensors, writeSafetensors } from "./safetensors.ts";
import { countingTensor, TempDir } from "./testing.ts";

const FIXTURES = new URL("../../tests/fixtures/checkpoint/", import.meta.url).pathname;

/** Write a file with the given header and as many zero bytes behind it. */
async function writeRaw(path: string, header: string, dataBytes: number): Promise<void> {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  await Deno.writeFile(path, bytes);
}

Deno.test("readSafetensors() reads what the reference implementation wrote", async () => {
  const tensors = await readSafetensors(join(FIXTURES, "mixed.safetensors"));
  const expected: Record<string, { shape: number[]; data: number[] }> = JSON.parse(
    await Deno.readTextFile(join(FIXTURES, "mixed.json")),
  );
  assert.deepEqual(tensors.map(({ name }) => name).sort(), Object.keys(expected).sort());
  for (const { name, shape, data } of tensors) {
    assert.deepEqual({ shape, data: [...data] }, expected[name], name);
  }
});

Deno.test("openSafetensors() hands out the writer's text", async () => {
  using file = await openSafetensors(join(FIXTURES, "mixed.safetensors"));
  assert.deepEqual({ ...file.header.metadata }, { writer: "safetensors" });
});

Deno.test("writeSafetensors() writes the reference implementation's bytes", async () => {
  using dir = new TempDir();
  const tensors = await readSafetensors(join(FIXTURES, "single_f32.safetensors"));
  for (const dtype of ["F32", "F16"] as const) {
    const path = join(dir.path, dtype);
    const size = await writeSafetensors(path, tensors, { dtype });
    const golden = await Deno.readFile(
      join(FIXTURES, `single_${dtype.toLowerCase()}.safetensors`),
    );
    assert.deepEqual(await Deno.readFile(path), golden);
    assert.equal(size, golden.length);
  }
});

Deno.test("writeSafetensors() and readSafetensors() round-trip any float32 tensors", async () => {
  using dir = new TempDir();
  const tensor = fc.array(fc.nat(4), { maxLength: 3 }).chain((shape) => {
    const length = shape.reduce((a, b) => a * b, 1);
    return fc.tuple(
      fc.string({ unit: "binary" }).filter((name) => name !== "__metadata__"),
      fc.float32Array({ minLength: length, maxLength: length }),
    ).map(([name, data]): HostTensor => ({ name, shape, data }));
  });
  const tensors = fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 5 });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(tensors, async (written) => {
      const path = join(dir.path, `${run++}.safetensors`);
      await writeSafetensors(path, written, { metadata: { run: String(run) } });
      const read = new Map((await readSafetensors(path)).map((found) => [found.name, found]));
      assert.equal(read.size, written.length);
      for (const { name, shape, data } of written) {
        assert.deepEqual(read.get(name)?.shape, shape);
        assert.deepEqual(read.get(name)?.data, data);
      }
    }),
    { numRuns: 60, seed: 1 },
  );
});

Deno.test("writeSafetensors() streams tensors larger than its buffer, one at a time", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "large.safetensors");
  const length = (1 << 20) + 5; // one more step than the conversion buffer holds
  let loaded = 0;
  const lazy = (name: string) => ({
    name,
    shape: [length],
    load: () => {
      loaded++;
      return Promise.resolve(new Float32Array(length).fill(loaded / 2));
    },
  });
  await writeSafetensors(path, [lazy("a"), lazy("b")], { dtype: "F16" });
  using file = await openSafetensors(path);
  for (const [i, entry] of file.header.entries.entries()) {
    const { data } = await file.read(entry);
    assert.equal(data.length, length);
    assert.ok(data.every((value) => value === (i + 1) / 2));
  }
});

Deno.test("writeSafetensors() refuses what it cannot store", async () => {
  using dir = new TempDir();
  const path = (name: string) => join(dir.path, name);
  const big = { name: "w", shape: [2], data: Float32Array.of(1, 70000) };
  await assert.rejects(
    writeSafetensors(path("a"), [big], { dtype: "F16" }),
    /Cannot store 70000 as F16: the largest number is 65504; store F32/,
  );
  await assert.rejects(
    writeSafetensors(path("b"), [{ name: "w", shape: [3], data: new Float32Array(2) }]),
    /tensor w: it has 2 values, but shape \[3\] takes 3/,
  );
  const w = countingTensor("w", [1]);
  await assert.rejects(writeSafetensors(path("c"), [w, w]), /tensor "w": the name is taken/);
  await assert.rejects(
    writeSafetensors(path("d"), [countingTensor("__metadata__", [1])]),
    /the name is taken/,
  );
});

Deno.test("readSafetensors() says what is wrong with a malformed file", async (t) => {
  using dir = new TempDir();
  const entry = (dtype: string, shape: unknown, start: number, end: number) =>
    JSON.stringify({ dtype, shape, data_offsets: [start, end] });
  const cases: readonly [string, string, number, RegExp][] = [
    ["JSON", "{", 0, /its header is not JSON/],
    ["array", "[]", 0, /its header is not a JSON object/],
    [
      "dtype",
      `{"w":${entry("I64", [1], 0, 8)}}`,
      8,
      /"w" has dtype "I64", but only F32, F16, BF16/,
    ],
    ["shape", `{"w":${entry("F32", [-1], 0, 4)}}`, 4, /"w" has no valid shape and data_offsets/],
    ["null", `{"w":null}`, 0, /"w" has no valid shape and data_offsets/],
    [
      "bytes",
      `{"w":${entry("F32", [2], 0, 4)}}`,
      4,
      /spans 4 bytes, but shape \[2\] of F32 takes 8/,
    ],
    ["huge", `{"w":${entry("F32", [2 ** 50], 0, 2 ** 52)}}`, 4, /is truncated, \d+ bytes expected/],
    ["product", `{"w":${entry("F32", [2 ** 52, 2 ** 52], 0, 4)}}`, 4, /spans 4 bytes/],
    [
      "overlap",
      `{"a":${entry("F32", [2], 0, 8)},"b":${entry("F32", [2], 4, 12)}}`,
      12,
      /"b" starts at byte \d+, but the tensor before it ends at \d+/,
    ],
    ["gap", `{"a":${entry("F32", [1], 4, 8)}}`, 8, /neither overlap nor leave gaps/],
    ["trailing", `{"a":${entry("F32", [1], 0, 4)}}`, 9, /has bytes that belong to no tensor/],
    ["metadata", `{"__metadata__":{"a":1}}`, 0, /its __metadata__ is not a table of texts/],
  ];
  for (const [name, header, dataBytes, message] of cases) {
    await t.step(name, async () => {
      const path = join(dir.path, name);
      await writeRaw(path, header, dataBytes);
      await assert.rejects(readSafetensors(path), (error) => {
        assert.ok(error instanceof CheckpointError);
        assert.match(error.message, message);
        return true;
      });
    });
  }
});

Deno.test("readSafetensors() names the sizes of a truncated file, wherever it was cut", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "w.safetensors");
  const size = await writeSafetensors(path, [countingTensor("w", [16])]);
  for (const cut of [0, 7, 8, 60, size - 1]) {
    await Deno.truncate(path, size);
    await Deno.writeFile(join(dir.path, "cut"), (await Deno.readFile(path)).subarray(0, cut));
    await assert.rejects(readSafetensors(join(dir.path, "cut")), (error) => {
      assert.ok(error instanceof CheckpointError);
      assert.match(error.message, /is truncated/);
      assert.match(error.message, new RegExp(`\\b${cut} (bytes )?found`));
      return true;
    });
  }
});

Deno.test("openSafetensors() refuses an absurd header length before allocating it", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "absurd");
  await Deno.writeFile(path, new Uint8Array(16).fill(0xff));
  await assert.rejects(
    openSafetensors(path),
    /its header claims \d+ bytes, the limit is 100000000/,
  );
});

Deno.test("openSafetensors() says when there is no file", async () => {
  using dir = new TempDir();
  await assert.rejects(openSafetensors(join(dir.path, "none")), /there is no such file/);
  await assert.rejects(openSafetensors(dir.path), CheckpointError);
});

Deno.test("readSafetensors() answers any mutated file with tensors or a CheckpointError", async () => {
  using dir = new TempDir();
  const path = join(dir.path, "w.safetensors");
  await writeSafetensors(path, [countingTensor("a", [2, 3]), countingTensor("b", [4])], {
    metadata: { note: "x" },
  });
  const original = await Deno.readFile(path);
  const edits = fc.array(fc.tuple(fc.nat(original.length - 1), fc.nat(255)), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(edits, fc.nat(original.length), async (changes, keep) => {
      const mutated = original.slice(0, keep % 3 === 0 ? keep : undefined);
      for (const [at, value] of changes) if (at < mutated.length) mutated[at] = value;
      await Deno.writeFile(path, mutated);
      try {
        const tensors = await readSafetensors(path);
        assert.ok(tensors.every(({ data }) => data.byteLength <= 2 * mutated.length));
      } catch (error) {
        assert.ok(error instanceof CheckpointError, String(error));
      }
    }),
    { numRuns: 300, seed: 2 },
  );
});
