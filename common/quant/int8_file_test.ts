import assert from "node:assert/strict";
import { join } from "node:path";
import { InMemorySource } from "../checkpoint/names/testing.ts";
import { planBackbone } from "../checkpoint/recognise.ts";
import { TempDir } from "../checkpoint/testing.ts";
import { backboneSpecs } from "../policy/parameters.ts";
import { drawEverything, MICRO } from "../policy/testing.ts";
import { readInt8File, writeInt8File } from "./int8_file.ts";
import { loadInt8 } from "./load_int8.ts";

const specs = backboneSpecs(MICRO);
const source = new InMemorySource([...drawEverything(specs, 3).values()], { blockSide: 50 });
const wanted = specs.map(({ path, shape }) => ({ name: path, shape }));
const weights = await loadInt8(source, planBackbone(source, MICRO, wanted).mapped);

Deno.test("readInt8File() reads what writeInt8File() wrote", async () => {
  using temp = new TempDir();
  const path = join(temp.path, "int8.safetensors");
  assert.equal(await writeInt8File(path, weights), (await Deno.stat(path)).size);
  const { matrices, floats } = await readInt8File(path);
  assert.deepEqual(new Map([...matrices].sort()), new Map([...weights.matrices].sort()));
  assert.deepEqual(new Map([...floats].sort()), new Map([...weights.floats].sort()));
});

Deno.test("readInt8File() refuses damage with one sentence", async () => {
  using temp = new TempDir();
  const path = join(temp.path, "int8.safetensors");
  await writeInt8File(path, weights);
  const good = await Deno.readFile(path);
  const edited = (from: string, to: string) => {
    const text = new TextDecoder("latin1").decode(good).replace(from, to);
    return Uint8Array.from(text, (char) => char.charCodeAt(0));
  };
  const cases: [Uint8Array, RegExp][] = [
    [good.subarray(0, 5), /truncated/],
    [good.subarray(0, 400), /truncated/],
    [good.subarray(0, good.length - 1), /it is truncated\.$/],
    [edited("tendon-int8", "tendon-int4"), /no 8-bit weights/],
    [edited('"__meta', '@"__met'), /not JSON/],
    [edited('"dtype":"I8"', '"dtype":"I9"'), /no tensors of I8/],
    [edited('_einsum/w.scales"', '_einsum/w.skales"'), /has no scales that fit it|scales nothing/],
  ];
  for (const [bytes, message] of cases) {
    await Deno.writeFile(path, bytes);
    await assert.rejects(readInt8File(path), { name: "CheckpointError", message });
  }
  await assert.rejects(readInt8File(join(temp.path, "none")), /there is no such file/);
});
