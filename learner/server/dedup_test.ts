import assert from "node:assert/strict";
import { sampleTransition } from "../../common/wire/testing.ts";
import { ChunkDedup, createIntake } from "./dedup.ts";

Deno.test("ChunkDedup forgets the id that was seen longest ago", () => {
  const dedup = new ChunkDedup(3, ["a", "b", "c"]);
  dedup.remember("a");
  dedup.remember("d");
  assert.deepEqual(dedup.ids(), ["c", "a", "d"]);
  assert.ok(!dedup.has("b"));
  assert.equal(dedup.size, 3);
});

Deno.test("ChunkDedup refuses a capacity that is not positive", () => {
  assert.throws(() => new ChunkDedup(0), /Cannot remember 0 chunks/);
});

Deno.test("createIntake() accepts a chunk once, also within one frame", () => {
  const taken: string[] = [];
  const intake = createIntake(new ChunkDedup(), ({ chunkId }) => taken.push(chunkId));
  const [first, second] = [sampleTransition(0), sampleTransition(1)];
  assert.deepEqual(intake("c", [first, second, first]), {
    acceptedIds: ["chunk-0", "chunk-1"],
    duplicateIds: ["chunk-0"],
  });
  assert.deepEqual(intake("d", [second]), { acceptedIds: [], duplicateIds: ["chunk-1"] });
  assert.deepEqual(taken, ["chunk-0", "chunk-1"]);
});

Deno.test("createIntake() does not remember a chunk that could not be taken", () => {
  const dedup = new ChunkDedup();
  const intake = createIntake(dedup, () => {
    throw new Error("disk full");
  });
  assert.throws(() => intake("c", [sampleTransition(0)]), /disk full/);
  assert.equal(dedup.size, 0);
});
