import assert from "node:assert/strict";
import { StopLatch } from "./stop_latch.ts";

Deno.test("StopLatch is seen by every end, and only cleared on purpose", () => {
  const latch = new StopLatch(), other = new StopLatch(latch.memory);
  assert.equal(other.mode, null);
  latch.set("hold");
  assert.equal(other.mode, "hold");
  other.set("hold");
  assert.equal(latch.mode, "hold");
  latch.clear();
  assert.equal(other.mode, null);
});

Deno.test("StopLatch never weakens a torque-off to a hold", () => {
  const latch = new StopLatch();
  latch.set("torque-off");
  latch.set("hold");
  assert.equal(latch.mode, "torque-off");
  latch.clear();
  latch.set("hold");
  latch.set("torque-off");
  assert.equal(latch.mode, "torque-off");
});

Deno.test("StopLatch takes a word that no mode has for a hold", () => {
  const latch = new StopLatch();
  Atomics.store(new Int32Array(latch.memory), 0, 99);
  assert.equal(latch.mode, "hold");
});

Deno.test("StopLatch wakes a thread that sleeps on it, at once", async () => {
  const latch = new StopLatch();
  const code = `import { StopLatch } from "${new URL("./stop_latch.ts", import.meta.url)}";
    self.onmessage = ({ data }) => {
      self.postMessage("sleeping");
      self.postMessage(new StopLatch(data).sleep(60_000, null));
    };`;
  const url = URL.createObjectURL(new Blob([code], { type: "text/typescript" }));
  const worker = new Worker(url, { type: "module" });
  const said: unknown[] = [];
  const woken = Promise.withResolvers<void>();
  worker.onmessage = ({ data }) => {
    said.push(data);
    if (data === "sleeping") latch.set("hold");
    else woken.resolve();
  };
  worker.postMessage(latch.memory);
  await woken.promise;
  worker.terminate();
  URL.revokeObjectURL(url);
  assert.deepEqual(said, ["sleeping", true]);
});

Deno.test("StopLatch.sleep() returns at once when the latch is not as the caller saw it", () => {
  const latch = new StopLatch();
  latch.set("hold");
  assert.equal(latch.sleep(60_000, null), true);
  assert.equal(latch.sleep(0, "hold"), false);
});
