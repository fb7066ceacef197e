import assert from "node:assert/strict";
import { clearImmediate, setImmediate } from "node:timers";
import { EventLoopPacer, turnEventLoop } from "./turn_event_loop.ts";

/** Work that never lets the loop turn by itself. */
function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

Deno.test("turnEventLoop() lets a timer that is due fire", async () => {
  let isFired = false;
  const timer = setTimeout(() => (isFired = true), 1);
  for (let turn = 0; turn < 20 && !isFired; turn++) {
    work(1);
    await turnEventLoop();
  }
  clearTimeout(timer);
  assert.ok(isFired);
});

Deno.test("turnEventLoop() lets a socket be heard, which promises alone do not", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using client = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  using server = await listener.accept();
  const bytes = new Uint8Array(4);
  let isHeard = false;
  const reading = server.read(bytes).then(() => (isHeard = true));
  await client.write(new TextEncoder().encode("stop"));
  for (let i = 0; i < 1000; i++) await Promise.resolve();
  assert.ok(!isHeard);
  let turns = 0;
  for (; turns < 50 && !isHeard; turns++) await turnEventLoop();
  assert.ok(isHeard, `nothing was heard in ${turns} turns`);
  await reading;
  assert.equal(new TextDecoder().decode(bytes), "stop");
});

Deno.test("EventLoopPacer turns the loop once 8 ms have passed, and not before", async () => {
  let nowMs = 100;
  const pacer = new EventLoopPacer(() => nowMs);
  let turns = 0;
  const turnsIn = async () => {
    const before = turns;
    const immediate = setImmediate(() => turns++);
    await pacer.turnIfDue();
    clearImmediate(immediate);
    return turns - before;
  };
  assert.equal(await turnsIn(), 0);
  nowMs = 107.9;
  assert.equal(await turnsIn(), 0);
  nowMs = 108;
  assert.equal(await turnsIn(), 1);
  nowMs = 115;
  assert.equal(await turnsIn(), 0);
  nowMs = 116;
  assert.equal(await turnsIn(), 1);
});
