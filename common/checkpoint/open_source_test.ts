import assert from "node:assert/strict";
import { join } from "node:path";
import { CheckpointError } from "./errors.ts";
import { openTensorSource } from "./open_source.ts";
import { writeSafetensors } from "./safetensors.ts";
import { assembleTensor } from "./tensor_blocks.ts";
import type { SourceFormat, StoredDtype, TensorSource } from "./tensor_source.ts";
import { countingTensor, TempDir } from "./testing.ts";

const FIXTURES = new URL("../../tests/fixtures/checkpoint_formats/", import.meta.url).pathname;

interface ExpectedTensor {
  readonly shape: number[];
  readonly dtype: StoredDtype;
  readonly seed: number | null | "partial";
}

interface Expected {
  readonly format: SourceFormat;
  readonly tensors: Readonly<Record<string, ExpectedTensor>>;
  readonly skipped: string[];
}

/** The formula that the script which wrote the fixtures documents. */
function expectedValues({ shape, seed }: ExpectedTensor): Float32Array {
  const length = shape.reduce((product, size) => product * size, 1);
  return Float32Array.from({ length }, (_, i) => {
    if (seed === null) return 0;
    if (seed === "partial") return i < 8 ? 1 : 2.5;
    return ((37 * i + 101 * seed) % 251 - 125) / 8;
  });
}

async function checkSource(source: TensorSource, expected: Expected): Promise<void> {
  const { format, tensors, skipped } = expected;
  assert.equal(source.format, format);
  assert.deepEqual(source.tensors.map(({ name }) => name), Object.keys(tensors).sort());
  assert.deepEqual(source.skipped.map(({ name }) => name).sort(), skipped);
  for (const tensor of source.tensors) {
    const wanted = tensors[tensor.name];
    assert.deepEqual([tensor.shape, tensor.dtype], [wanted.shape, wanted.dtype], tensor.name);
    const values = expectedValues(wanted);
    const whole = await source.read(tensor.name);
    assert.deepEqual(whole.data, values, tensor.name);
    for (const maxBlockBytes of [4, 100, 5000]) {
      let count = 0;
      const counted = async function* () {
        for await (const block of source.blocks(tensor.name, maxBlockBytes)) {
          assert.equal(block.values.length, block.shape.reduce((a, b) => a * b, 1));
          count += block.values.length;
          yield block;
        }
      };
      assert.deepEqual((await assembleTensor(tensor, counted())).data, values, tensor.name);
      assert.equal(count, values.length, `${tensor.name} is covered once`);
    }
  }
}

const expectations: Readonly<Record<string, Expected>> = JSON.parse(
  await Deno.readTextFile(join(FIXTURES, "expected.json")),
);

for (const [path, expected] of Object.entries(expectations)) {
  Deno.test(`openTensorSource() reads every value of ${path}`, async () => {
    using source = await openTensorSource(join(FIXTURES, path));
    await checkSource(source, expected);
  });
}

Deno.test("openTensorSource() finds parameters below the folder that it is given", async () => {
  for (const path of ["openpi/7", "openpi", "openpi/7/params/manifest.ocdbt"]) {
    using source = await openTensorSource(join(FIXTURES, path));
    assert.equal(source.path, join(FIXTURES, "openpi/7/params"));
  }
  using source = await openTensorSource(join(FIXTURES, "plain"));
  assert.equal(source.path, join(FIXTURES, "plain/7/params"));
});

Deno.test("openTensorSource() reads arrays whose names are nested folders", async () => {
  using dir = new TempDir();
  const folder = join(dir.path, "params/llm/layers/w");
  await Deno.mkdir(folder, { recursive: true });
  for (const name of [".zarray", "0", "1", "2"]) {
    await Deno.copyFile(join(FIXTURES, "tiny_zarr/b.w", name), join(folder, name));
  }
  using source = await openTensorSource(dir.path);
  const values = expectedValues({ shape: [5], dtype: "F32", seed: 2 });
  assert.deepEqual((await source.read("llm/layers/w")).data, values);
});

Deno.test("blocks() may be left early and read by several at a time", async () => {
  for (const path of ["chunked", "codecs", "deflated.npz", "sharded"]) {
    using source = await openTensorSource(join(FIXTURES, path));
    const expected = expectations[path].tensors;
    await Promise.all(source.tensors.map(async ({ name }) => {
      for await (const block of source.blocks(name, 16)) {
        assert.ok(block.values.length > 0);
        break; // the test runner sees a file or a decompressor that stays open
      }
      assert.deepEqual((await source.read(name)).data, expectedValues(expected[name]), name);
    }));
  }
});

Deno.test("openTensorSource() opens the index and the first shard alike", async () => {
  using index = await openTensorSource(join(FIXTURES, "sharded/model.safetensors.index.json"));
  assert.equal(index.tensors.length, 3);
  using shard = await openTensorSource(
    join(FIXTURES, "sharded/model-00001-of-00002.safetensors"),
  );
  assert.deepEqual(shard.tensors.map(({ name }) => name), ["a", "b.weight"]);
});

Deno.test("openTensorSource() opens Tendon's own step folders", async () => {
  using dir = new TempDir();
  await Deno.mkdir(join(dir.path, "step_5/params"), { recursive: true });
  await Deno.mkdir(join(dir.path, "step_5/train_state"));
  const file = join(dir.path, "step_5/params/model.safetensors");
  await writeSafetensors(file, [countingTensor("actor_backbone/w", [2, 3])]);
  await Deno.writeTextFile(join(dir.path, "step_5/train_state/model.safetensors"), "no parameters");
  using source = await openTensorSource(join(dir.path, "step_5"));
  assert.deepEqual(source.tensors, [
    { name: "actor_backbone/w", shape: [2, 3], dtype: "F32", file },
  ]);
});

Deno.test("openTensorSource() says what it expects where there is no checkpoint, or several", async () => {
  using dir = new TempDir();
  const refuses = (path: string, message: RegExp) =>
    assert.rejects(openTensorSource(join(dir.path, path)), (error) => {
      assert.ok(error instanceof CheckpointError);
      assert.match(error.message, message);
      return true;
    });
  await refuses("none", /none: there is no such file/);
  await refuses("", /it holds no checkpoint; expected an Orbax checkpoint/);
  await Deno.writeTextFile(join(dir.path, "notes.txt"), "hello, world");
  await refuses("notes.txt", /notes\.txt: it is no checkpoint; expected/);
  await Deno.mkdir(join(dir.path, "a/ocdbt.process_0"), { recursive: true });
  await refuses("a", /no manifest\.ocdbt; saving it did not finish/);
  await Deno.mkdir(join(dir.path, "9.orbax-checkpoint-tmp-0"));
  await refuses("9.orbax-checkpoint-tmp-0", /saving this checkpoint did not finish/);
  for (const step of ["1", "2"]) {
    await Deno.mkdir(join(dir.path, "run", step, "params"), { recursive: true });
    await writeSafetensors(join(dir.path, "run", step, "params/model.safetensors"), []);
  }
  await refuses("run", /it holds 2 checkpoints; give the path of one, such as .*run\/1/);
});
