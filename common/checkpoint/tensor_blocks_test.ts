import assert from "node:assert/strict";
import fc from "fast-check";
import { CheckpointError } from "./errors.ts";
import { assembleTensor, blocksOfBytes, rowMajorBoxes } from "./tensor_blocks.ts";

const shapes = fc.array(fc.nat(6), { maxLength: 4 });
const count = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

async function* piecesOf(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let start = 0;
  for (const size of sizes) {
    await Promise.resolve();
    yield bytes.subarray(start, start + size);
    start += size;
  }
  yield bytes.subarray(start);
}

Deno.test("rowMajorBoxes() cuts a tensor into consecutive boxes below the bound", () => {
  fc.assert(
    fc.property(shapes, fc.integer({ min: 1, max: 60 }), (shape, maxElements) => {
      let next = 0;
      for (const box of rowMajorBoxes(shape, maxElements)) {
        assert.ok(count(box.shape) >= 1 && count(box.shape) <= maxElements);
        const first = box.origin.reduce((index, at, i) => index * shape[i] + at, 0);
        assert.equal(first, next);
        next += count(box.shape);
      }
      assert.equal(next, count(shape));
    }),
    { numRuns: 300, seed: 1 },
  );
});

Deno.test("blocksOfBytes() and assembleTensor() restore a tensor from pieces of any size", async () => {
  await fc.assert(
    fc.asyncProperty(
      shapes,
      fc.integer({ min: 4, max: 200 }),
      fc.array(fc.nat(9), { maxLength: 30 }),
      async (shape, maxBlockBytes, sizes) => {
        const values = Float32Array.from({ length: count(shape) }, (_, i) => i - 3);
        const tensor = { name: "w", shape, dtype: "F32", file: "w.bin" } as const;
        const blocks = blocksOfBytes(
          piecesOf(new Uint8Array(values.buffer), sizes),
          tensor,
          maxBlockBytes,
          () => new CheckpointError("truncated"),
        );
        assert.deepEqual((await assembleTensor(tensor, blocks)).data, values);
      },
    ),
    { numRuns: 200, seed: 2 },
  );
});

Deno.test("blocksOfBytes() throws what it is told when the bytes end early", async () => {
  const tensor = { name: "w", shape: [3], dtype: "BF16", file: "w.bin" } as const;
  const blocks = blocksOfBytes(
    piecesOf(new Uint8Array(5), []),
    tensor,
    4096,
    (found) => new CheckpointError(`only ${found} bytes`),
  );
  await assert.rejects(assembleTensor(tensor, blocks), /only 5 bytes/);
});

Deno.test("assembleTensor() refuses a shape beyond memory", async () => {
  const tensor = { name: "w", shape: [2 ** 30, 2 ** 20], dtype: "F32", file: "w.bin" } as const;
  await assert.rejects(
    assembleTensor(tensor, piecesOf(new Uint8Array(0), []) as never),
    (error) => {
      assert.ok(error instanceof CheckpointError);
      assert.match(error.message, /w\.bin: tensor w of shape \[1073741824, 1048576\] does not fit/);
      return true;
    },
  );
});
