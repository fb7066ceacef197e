import assert from "node:assert/strict";
import { join } from "node:path";
import { openTensorSource } from "../checkpoint/open_source.ts";
import { planBackbone } from "../checkpoint/recognise.ts";
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { TempDir } from "../checkpoint/testing.ts";
import { backboneSpecs } from "../policy/parameters.ts";
import { drawEverything, MICRO } from "../policy/testing.ts";
import { loadQuantized } from "./load_quantized.ts";
import { loadQuantizedInThreads } from "./load_quantized_threads.ts";

const target = { bits: 8 } as const;
const specs = backboneSpecs(MICRO);
const tensors = [...drawEverything(specs, 3).values()];
const wanted = specs.map(({ path, shape }) => ({ name: path, shape }));

Deno.test("loadQuantizedInThreads() gives what loadQuantized() gives", async () => {
  using temp = new TempDir();
  const path = join(temp.path, "model.safetensors");
  await writeSafetensors(path, tensors);
  using source = await openTensorSource(path);
  const { mapped } = planBackbone(source, MICRO, wanted);
  const expected = await loadQuantized(source, mapped, target);
  let last = 0;
  const loaded = await loadQuantizedInThreads(path, mapped, target, {
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

Deno.test("loadQuantizedInThreads() ends with one sentence when a thread fails or its caller stops", async () => {
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
  await assert.rejects(loadQuantizedInThreads(path, mapped, target), {
    name: "CheckpointError",
    message: /^Cannot quantise PaliGemma\/llm\/layers\/mlp\/linear: /,
  });
  const stop = new Error("stopped");
  await assert.rejects(
    loadQuantizedInThreads(path, mapped, target, {
      onProgress: () => {
        throw stop;
      },
    }),
    stop,
  );
});
