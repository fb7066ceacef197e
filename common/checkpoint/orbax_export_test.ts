import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { backboneSpecs, valueHeadSpecs } from "../policy/parameters.ts";
import { drawEverything, MICRO_LORA } from "../policy/testing.ts";
import type { HostTensor } from "../types.ts";
import { type BlockTensor, inOneBlock, writeSafetensorsBlocks } from "./block_writer.ts";
import { InMemorySource } from "./names/testing.ts";
import { writeOrbaxCheckpoint } from "./orbax_export.ts";
import { readSafetensors } from "./safetensors.ts";
import { countingTensor, TempDir } from "./testing.ts";

const CHECK = fileURLToPath(
  new URL("../../scripts/goldens/orbax_export_check.py", import.meta.url),
);

/** Tensors in small blocks that split every axis, the last first. */
function inSmallBlocks(tensors: readonly HostTensor[]): BlockTensor[] {
  const source = new InMemorySource(tensors, { isReversed: true, blockSide: 7 });
  return tensors.map(({ name, shape }) => ({ name, shape, blocks: () => source.blocks(name) }));
}

/** A Python that has Orbax, or the reason why there is none. */
async function findPython(): Promise<{ python: string } | { reason: string }> {
  const python = Deno.env.get("TENDON_PYTHON") ?? "python3";
  try {
    const { success } = await new Deno.Command(python, {
      args: ["-c", "import orbax.checkpoint"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success ? { python } : { reason: `${python} has no orbax-checkpoint` };
  } catch {
    return { reason: `there is no ${python}` };
  }
}

const found = await findPython();

Deno.test({
  name: "writeOrbaxCheckpoint() writes what the real Orbax restores bit for bit" +
    ("reason" in found ? ` (skipped: ${found.reason})` : ""),
  ignore: "reason" in found,
  fn: async () => {
    using temp = new TempDir();
    const actor = [...drawEverything(backboneSpecs(MICRO_LORA), 1).values()];
    const critic = [...drawEverything(valueHeadSpecs(32, 8), 2).values(), countingTensor("n", [])];
    for (const dtype of ["F32", "BF16"] as const) {
      const dir = join(temp.path, dtype);
      const stored = join(temp.path, `${dtype}.safetensors`);
      await writeOrbaxCheckpoint(dir, {
        actorBackbone: inSmallBlocks(actor),
        valueHead: critic.map(inOneBlock),
        dtype,
      });
      await writeSafetensorsBlocks(stored, [
        ...actor.map((t) => inOneBlock({ ...t, name: `actor_backbone/${t.name}` })),
        ...critic.map((t) => inOneBlock({ ...t, name: `value_head/${t.name}` })),
      ], dtype);
      const { success, stdout, stderr } = await new Deno.Command(
        (found as { python: string }).python,
        {
          args: [CHECK, dir, stored],
        },
      ).output();
      const text = new TextDecoder().decode(stdout);
      assert.ok(success, `${text}${new TextDecoder().decode(stderr)}`);
      const result = JSON.parse(text.trim().split("\n").at(-1) ?? "");
      assert.deepEqual(result.differences, []);
      assert.equal(result.arrays, actor.length + critic.length);
    }
  },
});

Deno.test("writeOrbaxCheckpoint() lays a step out as openpi does", async () => {
  using temp = new TempDir();
  const dir = join(temp.path, "1000");
  const bytes = new TextEncoder().encode("{}");
  await writeOrbaxCheckpoint(dir, {
    actorBackbone: [countingTensor("PaliGemma/llm/w", [2, 3])].map(inOneBlock),
    assets: new Map([["trossen/norm_stats.json", bytes]]),
  }, 1_700_000_000_000);
  assert.deepEqual(await Deno.readFile(join(dir, "assets/trossen/norm_stats.json")), bytes);
  const item = join(dir, "params");
  const array = join(item, "params.PaliGemma.llm.w");
  assert.deepEqual(
    new Float32Array((await Deno.readFile(join(array, "0.0"))).buffer),
    countingTensor("", [2, 3]).data,
  );
  const tree = JSON.parse(await Deno.readTextFile(join(item, "_METADATA"))).tree_metadata;
  assert.deepEqual(Object.keys(tree), ["('params', 'PaliGemma', 'llm', 'w')"]);
  const text = await Deno.readTextFile(join(dir, "_CHECKPOINT_METADATA"));
  assert.match(text, /"commit_timestamp_nsecs":1700000000000000000,/);
  assert.deepEqual(Object.keys(JSON.parse(text).item_handlers), ["params"]);
});

Deno.test("writeOrbaxCheckpoint() leaves nothing behind when a tensor cannot be written", async () => {
  using temp = new TempDir();
  const dir = join(temp.path, "out");
  const half = { name: "a", shape: [4], blocks: inOneBlock(countingTensor("a", [2])).blocks };
  const large = inOneBlock({ name: "a", shape: [1], data: Float32Array.of(1e6) });
  for (
    const [tensor, message] of [
      [half, /^Cannot store a: its blocks have 2 numbers, its shape \[4\] takes 4$/],
      [large, /^Cannot store 1000000 as F16/],
      [inOneBlock(countingTensor("../a", [1])), /^Cannot export tensor "\.\.\/a"/],
      [inOneBlock(countingTensor("a.b", [1])), /names without dots$/],
    ] as const
  ) {
    const content = { actorBackbone: [tensor], dtype: "F16" as const };
    await assert.rejects(writeOrbaxCheckpoint(dir, content), { name: "RangeError", message });
  }
  const content = { actorBackbone: [], assets: new Map([["../x", new Uint8Array()]]) };
  await assert.rejects(writeOrbaxCheckpoint(dir, content), /asset "\.\.\/x" is not a path below/);
  assert.deepEqual([...Deno.readDirSync(temp.path)], []);
});

Deno.test("writeSafetensorsBlocks() writes the same numbers whatever the blocks", async () => {
  using temp = new TempDir();
  const tensors = [
    countingTensor("a", [3, 5, 9]),
    countingTensor("b", []),
    countingTensor("c", [0]),
  ];
  const path = join(temp.path, "x.safetensors");
  const size = await writeSafetensorsBlocks(path, inSmallBlocks(tensors), "F32");
  assert.equal((await Deno.stat(path)).size, size);
  assert.deepEqual((await readSafetensors(path)).sort((a, b) => a.name < b.name ? -1 : 1), tensors);
});
