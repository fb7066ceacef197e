import assert from "node:assert/strict";
import fc from "fast-check";
import type { ChunkTransition } from "../common/types.ts";
import { ChunkBuffer, type Segment } from "./chunk_buffer.ts";
import { makeTransition } from "./testing.ts";

const NEVER = new AbortController().signal;

/** Consecutive chunks of an episode; the value of each tells its index. */
function episode(
  episodeId: string,
  count: number,
  last: Partial<ChunkTransition> = {},
): ChunkTransition[] {
  return Array.from({ length: count }, (_, chunkIndex) =>
    makeTransition({
      episodeId,
      chunkIndex,
      value: 100 + chunkIndex,
      ...(chunkIndex === count - 1 ? last : {}),
    }));
}

function fill(buffer: ChunkBuffer, ...episodes: ChunkTransition[][]): void {
  for (const chunk of episodes.flat()) buffer.add(chunk);
}

/** Which chunks were handed out, and what value follows. */
const shapeOf = (segments: readonly Segment[]) =>
  segments.map(({ chunks, nextValue }) => [chunks.map((c) => c.chunkId).join(), nextValue]);

Deno.test("ChunkBuffer holds the last chunk of an episode that goes on", () => {
  const buffer = new ChunkBuffer();
  const [a, b, c] = episode("e", 3, { isTerminal: true });
  const ready = [a, b, c].map((chunk) => {
    buffer.add(chunk);
    return buffer.ready;
  });
  assert.deepEqual(ready, [0, 1, 3]);
});

Deno.test("take() gives the value of what follows, and none after an end", async () => {
  const buffer = new ChunkBuffer();
  fill(buffer, episode("a", 3), episode("b", 2, { isTruncated: true, finalValue: 5 }));
  assert.deepEqual(shapeOf(await buffer.take(4, 0, NEVER)), [
    ["a.0,a.1", 102],
    ["b.0,b.1", undefined],
  ]);
  assert.equal(buffer.ready, 0);
});

Deno.test("take() cuts an episode at the exact count and goes on with it", async () => {
  const buffer = new ChunkBuffer();
  fill(buffer, episode("a", 4, { isTerminal: true }), episode("b", 2, { isTerminal: true }));
  assert.deepEqual(shapeOf(await buffer.take(3, 0, NEVER)), [["a.0,a.1,a.2", 103]]);
  assert.deepEqual(shapeOf(await buffer.take(2, 0, NEVER)), [["a.3", undefined], ["b.0", 101]]);
  assert.equal(buffer.ready, 1);
});

Deno.test("take() waits until enough has arrived, and says that it waits", async () => {
  let waits = 0;
  const buffer = new ChunkBuffer(() => waits++);
  const [a, b, c] = episode("a", 3, { isTerminal: true });
  buffer.add(a);
  const taken = buffer.take(3, 0, NEVER);
  let isDone = false;
  taken.then(() => isDone = true);
  buffer.add(b);
  await Promise.resolve();
  assert.equal(isDone, false);
  buffer.add(c);
  assert.deepEqual(shapeOf(await taken), [["a.0,a.1,a.2", undefined]]);
  assert.ok(waits > 0);
  fill(buffer, episode("b", 1, { isTerminal: true }));
  waits = 0;
  await buffer.take(1, 0, NEVER);
  assert.equal(waits, 0);
});

Deno.test("take() says that it waits when what seemed enough was stale", async () => {
  const stop = new AbortController();
  let waits = 0;
  const buffer = new ChunkBuffer(() => waits++);
  fill(buffer, episode("a", 2, { isTerminal: true }));
  assert.equal(buffer.ready, 2);
  const taken = buffer.take(2, 1, stop.signal);
  assert.equal(waits, 1);
  assert.deepEqual(buffer.drops, { stale: 2, orphaned: 0 });
  stop.abort(new Error("enough"));
  await assert.rejects(taken, /enough/);
});

Deno.test("take() ends with the signal's reason, before and while it waits", async () => {
  const buffer = new ChunkBuffer();
  const stop = new AbortController();
  const waiting = buffer.take(1, 0, stop.signal);
  stop.abort(new Error("stopped by a test"));
  await assert.rejects(waiting, /stopped by a test/);
  fill(buffer, episode("a", 1, { isTerminal: true }));
  await assert.rejects(buffer.take(1, 0, stop.signal), /stopped by a test/);
  assert.equal(buffer.ready, 1);
});

Deno.test("take() keeps the fresh tail of an episode whose head has grown stale", async () => {
  const buffer = new ChunkBuffer();
  const chunks = episode("a", 4, { isTerminal: true })
    .map((chunk, i) => ({ ...chunk, policyVersion: i }));
  fill(buffer, chunks);
  assert.deepEqual(shapeOf(await buffer.take(2, 2, NEVER)), [["a.2,a.3", undefined]]);
  assert.deepEqual(buffer.drops, { stale: 2, orphaned: 0 });
});

Deno.test("add() leaves out what lies before a gap", async () => {
  const buffer = new ChunkBuffer();
  const [a, b, , d, e] = episode("a", 5, { isTerminal: true });
  fill(buffer, [a, b, d, e]);
  assert.equal(buffer.ready, 2);
  assert.deepEqual(buffer.drops, { stale: 0, orphaned: 2 });
  assert.deepEqual(shapeOf(await buffer.take(2, 0, NEVER)), [["a.3,a.4", undefined]]);
});

/** What happens to a buffer. */
type Step =
  | { readonly kind: "chunk"; readonly episode: number; readonly isLost: boolean }
  | { readonly kind: "take"; readonly count: number }
  | { readonly kind: "version" };

const EPISODES = 4;
const LENGTH = 6;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("chunk" as const),
      episode: fc.nat(EPISODES - 1),
      isLost: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("take" as const),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("version" as const) }) },
);

/** The plainest thing that says what a buffer shall hold: a list, counted anew each time. */
class Model {
  waiting: ChunkTransition[] = [];
  stale = 0;
  orphaned = 0;

  /** Chunks of the same episode that wait, in order. */
  sameEpisode = (chunk: ChunkTransition) =>
    this.waiting.filter((c) => c.episodeId === chunk.episodeId);

  isReady = (chunk: ChunkTransition) => {
    const hasEnd = this.sameEpisode(chunk).some((c) => c.isTerminal || c.isTruncated);
    const last = Math.max(...this.sameEpisode(chunk).map((c) => c.chunkIndex));
    return hasEnd || chunk.chunkIndex < last;
  };

  get ready(): number {
    return this.waiting.filter(this.isReady).length;
  }

  add(chunk: ChunkTransition): void {
    const before = this.sameEpisode(chunk);
    if (
      before.length > 0 && Math.max(...before.map((c) => c.chunkIndex)) + 1 !== chunk.chunkIndex
    ) {
      this.orphaned += before.length;
      this.waiting = this.waiting.filter((c) => !before.includes(c));
    }
    this.waiting.push(chunk);
  }

  dropStale(oldest: number): void {
    // Versions never go down along an episode here.
    const kept = this.waiting.filter((c) => c.policyVersion >= oldest);
    this.stale += this.waiting.length - kept.length;
    this.waiting = kept;
  }
}

Deno.test("ChunkBuffer agrees with a plain list under any order of arrivals, losses and takes", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 80 }), async (steps) => {
      const buffer = new ChunkBuffer();
      const model = new Model();
      const next = new Array<number>(EPISODES).fill(0);
      const handedOut = new Set<string>();
      let version = 0;
      for (const now of steps) {
        if (now.kind === "version") version++;
        if (now.kind === "chunk") {
          const count = next[now.episode]++;
          const chunkIndex = count % LENGTH;
          const isLast = chunkIndex === LENGTH - 1;
          const chunk = makeTransition({
            episodeId: `${now.episode}-${Math.floor(count / LENGTH)}`,
            chunkIndex,
            policyVersion: version,
            value: count,
            isTerminal: isLast && count % 2 === 0,
            isTruncated: isLast && count % 2 === 1,
          });
          // The last chunk is never lost: a lost one only leaves waiting what staleness clears up.
          if (now.isLost && !isLast) continue;
          buffer.add(chunk);
          model.add(chunk);
        }
        if (now.kind === "take") {
          model.dropStale(version - 2);
          const stop = new AbortController();
          const taken = buffer.take(now.count, version - 2, stop.signal);
          if (model.ready < now.count) {
            stop.abort(new Error("too few"));
            await assert.rejects(taken, /too few/);
          } else {
            checkSegments(await taken, model, now.count, handedOut);
          }
        }
        assert.equal(buffer.ready, model.ready);
      }
      const { stale, orphaned } = model;
      assert.deepEqual(buffer.drops, { stale, orphaned });
    }),
    { numRuns: 200, seed: 11 },
  );
});

/** Check what was taken, and take it out of the model. */
function checkSegments(
  segments: readonly Segment[],
  model: Model,
  count: number,
  handedOut: Set<string>,
): void {
  assert.equal(segments.reduce((n, s) => n + s.chunks.length, 0), count);
  for (const { chunks, nextValue } of segments) {
    const last = chunks.at(-1)!;
    const following = model.waiting.find((c) =>
      c.episodeId === last.episodeId && c.chunkIndex === last.chunkIndex + 1
    );
    assert.equal(nextValue, following?.value);
    assert.ok(following || last.isTerminal || last.isTruncated, "it is known what follows");
    chunks.forEach((chunk, i) => {
      assert.ok(model.waiting.includes(chunk), "it waited");
      assert.ok(!handedOut.has(chunk.chunkId), "it is handed out once");
      handedOut.add(chunk.chunkId);
      if (i > 0) assert.equal(chunk.chunkIndex, chunks[i - 1].chunkIndex + 1);
    });
  }
  model.waiting = model.waiting.filter((c) => !handedOut.has(c.chunkId));
}

Deno.test("ChunkBuffer hands out an episode that was cut short, and one that a person drove in", async () => {
  const buffer = new ChunkBuffer();
  fill(buffer, episode("a", 2, { isCutShort: true, finalValue: 5 }));
  assert.equal(buffer.ready, 2);
  const chunks = episode("b", 4).map((chunk, i) =>
    i === 1 ? { ...chunk, driver: "person" } : chunk
  );
  fill(buffer, chunks as ChunkTransition[]);
  assert.deepEqual(shapeOf(await buffer.take(3, 0, NEVER)), [["a.0,a.1", undefined], ["b.0", 101]]);
  assert.deepEqual(shapeOf(await buffer.take(2, 0, NEVER)), [["b.1,b.2", 103]]);
});
