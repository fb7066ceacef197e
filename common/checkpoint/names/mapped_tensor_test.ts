import assert from "node:assert/strict";
import fc from "fast-check";
import { countingTensor } from "../testing.ts";
import { mappedBlocks, readMapped } from "./mapped_tensor.ts";
import { InMemorySource } from "./testing.ts";

Deno.test("readMapped() stacks layers and transposes each", async () => {
  const layers = [0, 1].map((i) => countingTensor(`l${i}`, [5, 4], 100 * i));
  const source = new InMemorySource(layers);
  const { data, shape, name } = await readMapped(source, {
    name: "stacked",
    shape: [2, 4, 5],
    pieces: [0, 1].map((i) => ({
      source: `l${i}`,
      sourceShape: [5, 4],
      index: [i],
      permutation: [1, 0],
    })),
  });
  assert.equal(name, "stacked");
  assert.deepEqual(shape, [2, 4, 5]);
  for (let l = 0; l < 2; l++) {
    for (let r = 0; r < 4; r++) {
      for (let c = 0; c < 5; c++) {
        assert.equal(data[(l * 4 + r) * 5 + c], layers[l].data[c * 4 + r]);
      }
    }
  }
});

Deno.test("readMapped() splits an axis into heads and reorders them, in any order of blocks", async () => {
  const stored = countingTensor("w", [8, 5]); // [N*K, D] → [D, N, K]
  for (const isReversed of [false, true]) {
    const { data } = await readMapped(new InMemorySource([stored], { isReversed }), {
      name: "w",
      shape: [5, 2, 4],
      pieces: [{
        source: "w",
        sourceShape: [8, 5],
        index: [],
        split: [[2, 4], [5]],
        permutation: [2, 0, 1],
      }],
    });
    for (let d = 0; d < 5; d++) {
      for (let nk = 0; nk < 8; nk++) assert.equal(data[d * 8 + nk], stored.data[nk * 5 + d]);
    }
  }
});

Deno.test("readMapped() leaves rows of padding out", async () => {
  const stored = countingTensor("e", [10, 4]);
  const { data } = await readMapped(new InMemorySource([stored]), {
    name: "e",
    shape: [7, 4],
    pieces: [{ source: "e", sourceShape: [10, 4], index: [], rows: 7 }],
  });
  assert.deepEqual(data, stored.data.subarray(0, 28));
});

Deno.test("readMapped() reads scalars and empty tensors", async () => {
  for (const shape of [[], [0], [3, 0]]) {
    const stored = countingTensor("x", shape, 7);
    const mapped = { name: "x", shape, pieces: [{ source: "x", sourceShape: shape, index: [] }] };
    assert.deepEqual((await readMapped(new InMemorySource([stored]), mapped)).data, stored.data);
  }
});

Deno.test("mappedBlocks() hands verbatim pieces on in the file's own blocks", async () => {
  const source = new InMemorySource([countingTensor("a", [4, 4])]);
  const mapped = {
    name: "t",
    shape: [2, 4, 4],
    pieces: [{ source: "a", sourceShape: [4, 4], index: [1] }],
  };
  const origins: (readonly number[])[] = [];
  for await (const { origin } of mappedBlocks(source, mapped)) origins.push(origin);
  assert.deepEqual(origins, [[1, 0, 0], [1, 0, 3], [1, 3, 0], [1, 3, 3]]);
});

Deno.test("readMapped() with a permutation and its inverse gives the tensor back", async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(sizes, fc.infiniteStream(fc.nat()), async (shape, stream) => {
      const order = shape.map((_, axis) => axis).sort((a, b) =>
        Number(stream.next().value) % 3 - 1 || a - b
      );
      const stored = countingTensor("x", shape);
      const turned = await readMapped(new InMemorySource([stored]), {
        name: "x",
        shape: order.map((axis) => shape[axis]),
        pieces: [{ source: "x", sourceShape: shape, index: [], permutation: order }],
      });
      const back = await readMapped(new InMemorySource([turned]), {
        name: "x",
        shape,
        pieces: [{
          source: "x",
          sourceShape: turned.shape,
          index: [],
          permutation: shape.map((_, axis) => order.indexOf(axis)),
        }],
      });
      assert.deepEqual(back, stored);
    }),
    { numRuns: 40 },
  );
});
