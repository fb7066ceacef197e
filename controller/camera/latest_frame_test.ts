import assert from "node:assert/strict";
import fc from "fast-check";
import { createFrameMemory, FrameWriter, LatestFrame } from "./latest_frame.ts";

function slot(size = { width: 2, height: 1 }) {
  const memory = createFrameMemory(size);
  return { memory, writer: new FrameWriter(memory), latest: new LatestFrame(memory) };
}

Deno.test("LatestFrame.take() gives nothing before the first picture", () => {
  const { latest } = slot();
  assert.equal(latest.take(), null);
  assert.deepEqual(latest.check(0, 100), { kind: "none" });
  assert.equal(latest.frames, 0);
});

Deno.test("LatestFrame.take() gives the newest picture, and again until there is a newer", () => {
  const { writer, latest } = slot();
  for (const value of [1, 2, 3]) {
    writer.back.fill(value);
    writer.publish(value * 10);
  }
  for (let i = 0; i < 2; i++) {
    const frame = latest.take();
    assert.deepEqual([frame?.sequence, frame?.capturedMs], [3, 30]);
    assert.deepEqual([...frame?.image.data ?? []], [3, 3, 3, 3, 3, 3]);
    assert.deepEqual([frame?.image.width, frame?.image.height], [2, 1]);
  }
  assert.equal(latest.frames, 3);
  assert.equal(latest.dropped, 2);
});

Deno.test("LatestFrame.check() turns stale past the bound", () => {
  const { writer, latest } = slot();
  writer.publish(1000);
  assert.equal(latest.check(1200, 200).kind, "fresh");
  const outcome = latest.check(1201, 200);
  assert.ok(outcome.kind === "stale" && outcome.ageMs === 201);
});

Deno.test("a picture that was taken stays whole whatever is written meanwhile", () => {
  // true: write and publish a picture; false: take one.
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (steps) => {
      const { writer, latest } = slot();
      let published = 0;
      let held = latest.take();
      for (const isWrite of steps) {
        if (isWrite) {
          writer.back.fill(++published);
          // What the reader holds is not what is being filled.
          if (held !== null) assert.ok(held.image.data.every((x) => x === held?.sequence));
          writer.publish(published);
        } else {
          held = latest.take();
          assert.equal(held?.sequence ?? 0, published);
        }
        if (held !== null) assert.ok(held.image.data.every((x) => x === held?.sequence));
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("no picture is torn between two threads that run at full speed", async () => {
  const { memory, latest } = slot({ width: 64, height: 16 });
  const url = new URL("./latest_frame.ts", import.meta.url);
  const source = `import { FrameWriter } from ${JSON.stringify(url.href)};
    self.onmessage = ({ data }) => {
      const writer = new FrameWriter(data);
      for (let i = 1; i <= 20000; i++) {
        writer.back.fill(i % 251);
        writer.publish(i);
      }
    };`;
  const blob = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(blob, { type: "module" });
  try {
    worker.postMessage(memory);
    assert.ok(await latest.waitForNext(0, 20_000));
    let last = 0;
    while (last < 20_000) {
      const frame = latest.take();
      assert.ok(frame !== null && frame.sequence >= last);
      last = frame.sequence;
      assert.equal(frame.capturedMs, last);
      assert.ok(frame.image.data.every((x) => x === last % 251));
    }
  } finally {
    worker.terminate();
    URL.revokeObjectURL(blob);
  }
});

Deno.test("LatestFrame.waitForNext() tells a new picture from a time-out", async () => {
  const { writer, latest } = slot();
  assert.equal(await latest.waitForNext(0, 1), false);
  const waiting = latest.waitForNext(0, 10_000);
  writer.publish(1);
  assert.equal(await waiting, true);
  assert.equal(await latest.waitForNext(0, 10_000), true); // it is there already
});
