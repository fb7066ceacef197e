import assert from "node:assert/strict";
import { join } from "node:path";
import { InMemorySource } from "../checkpoint/names/testing.ts";
import { openTensorSource } from "../checkpoint/open_source.ts";
import { planBackbone, recognise } from "../checkpoint/recognise.ts";
import { TempDir } from "../checkpoint/testing.ts";
import { backboneSpecs } from "../policy/parameters.ts";
import { drawEverything, MICRO } from "../policy/testing.ts";
import { loadQuantized } from "./load_quantized.ts";
import { readQuantizedFile, writeQuantizedFile } from "./quantized_file.ts";
import { dequantizeTensor } from "./quantized_tensor.ts";

const specs = backboneSpecs(MICRO);
const source = new InMemorySource([...drawEverything(specs, 3).values()], { blockSide: 50 });
const wanted = specs.map(({ path, shape }) => ({ name: path, shape }));
const { mapped } = planBackbone(source, MICRO, wanted);
const BITS = [8, 4] as const;
const weights = {
  8: await loadQuantized(source, mapped, { bits: 8 }),
  4: await loadQuantized(source, mapped, { bits: 4 }),
};

for (const bits of BITS) {
  Deno.test(`readQuantizedFile() reads what writeQuantizedFile() wrote in ${bits} bits`, async () => {
    using temp = new TempDir();
    const path = join(temp.path, "model.safetensors");
    assert.equal(await writeQuantizedFile(path, weights[bits]), (await Deno.stat(path)).size);
    const { matrices, floats } = await readQuantizedFile(path);
    assert.deepEqual(new Map([...matrices].sort()), new Map([...weights[bits].matrices].sort()));
    assert.deepEqual(new Map([...floats].sort()), new Map([...weights[bits].floats].sort()));
  });

  Deno.test(`openTensorSource() shows a file in ${bits} bits as float32`, async () => {
    using temp = new TempDir();
    const path = join(temp.path, "model.safetensors");
    await writeQuantizedFile(path, weights[bits]);
    using opened = await openTensorSource(path);
    assert.equal(recognise(opened).kind, "imitation");
    assert.equal(opened.tensors.length, specs.length);
    for (const { name, shape, dtype } of opened.tensors) {
      const matrix = weights[bits].matrices.get(name);
      assert.equal(dtype, matrix ? `I${bits}` : "F32");
      const expected = matrix ? dequantizeTensor(matrix) : weights[bits].floats.get(name)!;
      assert.deepEqual(await opened.read(name), { name, shape, data: expected.data });
    }
  });
}

Deno.test("readQuantizedFile() refuses damage with one sentence", async () => {
  using temp = new TempDir();
  const path = join(temp.path, "model.safetensors");
  for (const bits of BITS) {
    await Deno.remove(path).catch(() => {});
    await writeQuantizedFile(path, weights[bits]);
    const good = await Deno.readFile(path);
    const edited = (from: string, to: string) => {
      const text = new TextDecoder("latin1").decode(good);
      assert.ok(text.includes(from), from);
      return Uint8Array.from(text.replace(from, to), (char) => char.charCodeAt(0));
    };
    const dtype = bits === 8 ? "I8" : "U8";
    const cases: [Uint8Array, RegExp][] = [
      [good.subarray(0, 5), /truncated/],
      [good.subarray(0, 400), /truncated/],
      [good.subarray(0, good.length - 1), /it is truncated\.$/],
      [edited("tendon-int", "pendon-int"), /no 8-bit or 4-bit weights/],
      [edited('"__meta', '@"__met'), /not JSON/],
      [edited(`"dtype":"${dtype}"`, '"dtype":"I9"'), /no tensors of I8/],
      [edited('_einsum/w.scales"', '_einsum/w.skales"'), /scales that fit it|scales nothing/],
      [
        edited("mlp/linear", "mlp/lineal"),
        /linea. is no matrix|linear has no integers|lineal.scales scales/,
      ],
    ];
    for (const [bytes, message] of cases) {
      await Deno.writeFile(path, bytes);
      await assert.rejects(readQuantizedFile(path), { name: "CheckpointError", message });
    }
  }
  await assert.rejects(readQuantizedFile(join(temp.path, "none")), /there is no such file/);
});
