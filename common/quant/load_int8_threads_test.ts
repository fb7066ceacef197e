import assert from "node:assert/strict";
import { join } from "node:path";
import { openTensorSource } from "../checkpoint/open_source.ts";
import { planBackbone } from "../checkpoint/recognise.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { TempDir } from "../checkpoint/testing.ts";
import { backboneSpecs } from "../policy/parameters.ts";
import { drawEverything, MICRO } from "../policy/testing.ts";
import { loadInt8 } from "./load_int8.ts";
import { loadInt8InThreads } from "./load_int8_threads.ts";

const specs = backboneSpecs(MICRO);
const tensors = [...drawEverything(specs, 3).values()];
const wanted = specs.map(({ path, shape }) => ({ name: path, shape }));

Deno.test("loadInt8InThreads() gives what loadInt8() gives", async () => {
  using temp = new TempDir();
  const path = join(temp.path, "model.safetensors");
  await writeSafetensors(path, tensors);
  using source = await openTensorSource(path);
  const { mapped } = planBackbone(source, MICRO, wanted);
  const expected = await loadInt8(source, mapped);
  let last = 0;
  const loaded = await loadInt8InThreads(path, mapped, {
    threads: 3,
    onProgress: ({ done, total, residentBytes }) => {
      assert.ok(done > last && done <= total && residentBytes > 0);
      last = done;
    },
  });
  assert.equal(last, tensors.reduce((sum, { data }) => sum + data.length, 0));
  for (const { name } of tensors) {
    assert.deepEqual(loaded.matrices.get(name), expected.matrices.get(name));
    assert.deepEqual(loaded.floats.get(name), expected.floats.get(name));
  }
});

Deno.test("loadInt8InThreads() ends with one sentence when a thread fails or its caller stops", async () => {
  using temp = new TempDir();
  const path = join(temp.path, "model.safetensors");
  const broken = tensors.map((tensor) => {
    if (!tensor.name.endsWith("mlp/linear")) return tensor;
    const data = tensor.data.slice();
    data[7] = NaN;
    return { ...tensor, data };
  });
  await writeSafetensors(path, broken);
  using source = await openTensorSource(path);
  const { mapped } = planBackbone(source, MICRO, wanted);
  await assert.rejects(loadInt8InThreads(path, mapped), {
    name: "CheckpointError",
    message: /^Cannot quantise PaliGemma\/llm\/layers\/mlp\/linear: /,
  });
  const stop = new Error("stopped");
  await assert.rejects(
    loadInt8InThreads(path, mapped, {
      onProgress: () => {
        throw stop;
      },
    }),
    stop,
  );
});
