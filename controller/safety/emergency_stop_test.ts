import assert from "node:assert/strict";
import type { Logger } from "../../common/types.ts";
import { EmergencyStop, HeartbeatWatch, type StopMode, type StopRecord } from "./emergency_stop.ts";

/** A clock set by hand, a log, and a latch that uses both. */
function bench(mode: StopMode = "hold") {
  const clock = { ms: 1000 };
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const logger: Logger = { info: write, warn: write, error: write };
  const stop = new EmergencyStop({ mode, now: () => clock.ms, logger });
  return { clock, lines, stop };
}

Deno.test("EmergencyStop latches the first source, reason and time", () => {
  const { clock, stop } = bench("torque-off");
  assert.equal(stop.isActive, false);
  assert.equal(stop.record, null);
  stop.trigger("key press", "space bar");
  clock.ms = 1500;
  stop.trigger("SIGINT", "Ctrl-C");
  assert.equal(stop.isActive, true);
  assert.deepEqual(stop.record, {
    source: "key press",
    reason: "space bar",
    atMs: 1000,
    mode: "torque-off",
    requests: 2,
  });
});

Deno.test("EmergencyStop calls every listener before trigger() returns, at every request", () => {
  const { stop } = bench();
  const seen: string[] = [];
  stop.onStop(({ requests }) => void seen.push(`a${requests}`));
  const end = stop.onStop(({ requests }) => void seen.push(`b${requests}`));
  stop.trigger("HTTP", "POST");
  assert.deepEqual(seen, ["a1", "b1"]);
  end();
  stop.trigger("HTTP", "POST");
  assert.deepEqual(seen, ["a1", "b1", "a2"]);
});

Deno.test("EmergencyStop tells a late listener at once", () => {
  const { stop } = bench();
  stop.trigger("HTTP", "POST");
  let record: StopRecord | undefined;
  stop.onStop((now) => record = now);
  assert.equal(record?.source, "HTTP");
});

Deno.test("EmergencyStop.release() opens the latch and says by whom; only then", () => {
  const { stop, lines } = bench();
  assert.equal(stop.release("operator"), false);
  stop.trigger("SIGTERM", "signal");
  assert.equal(stop.release("operator"), true);
  assert.equal(stop.isActive, false);
  assert.deepEqual(lines, ["Emergency stop by SIGTERM was released by operator"]);
  stop.trigger("HTTP", "again");
  assert.equal(stop.record?.requests, 1);
});

Deno.test("EmergencyStop never throws: not for listeners, the logger, nor the clock", () => {
  const fail = () => {
    throw new Error("broken");
  };
  const stop = new EmergencyStop({
    mode: "hold",
    now: fail,
    logger: { info: fail, warn: fail, error: fail },
  });
  let told = 0;
  stop.onStop(fail);
  stop.onStop(() => {
    throw { toString: fail };
  });
  stop.onStop(() => void told++);
  stop.trigger("HTTP", "POST");
  assert.equal(told, 1);
  assert.equal(stop.isActive, true);
  assert.ok(Number.isNaN(stop.record?.atMs));
  stop.onStop(fail);
  assert.equal(stop.release("operator"), true);
});

Deno.test("EmergencyStop logs the listener that failed and tells the others", () => {
  const { stop, lines } = bench();
  stop.onStop(() => {
    throw new RangeError("no bus");
  });
  stop.trigger("HTTP", "POST");
  assert.deepEqual(lines, ["A listener of the emergency stop failed: RangeError: no bus"]);
});

Deno.test("EmergencyStop survives listeners that stop, release, come and go", () => {
  const { stop } = bench();
  let calls = 0;
  const end = stop.onStop(() => {
    calls++;
    stop.trigger("listener", "nested");
    end();
  });
  let late = 0;
  stop.onStop(() => void stop.onStop(() => void late++));
  stop.trigger("HTTP", "POST");
  assert.equal(calls, 1);
  assert.equal(late, 1);
  assert.equal(stop.record?.requests, 2);
});

Deno.test("HeartbeatWatch stops after silence, names it, and not before", () => {
  const { clock, stop } = bench();
  const watch = new HeartbeatWatch({ timeoutMs: 500, now: () => clock.ms, stop });
  clock.ms = 1500;
  assert.equal(watch.poll(), true);
  watch.beat();
  clock.ms = 2000;
  assert.equal(watch.poll(), true);
  assert.equal(stop.isActive, false);
  clock.ms = 2001;
  assert.equal(watch.poll(), false);
  assert.equal(watch.isLost, true);
  assert.equal(stop.record?.source, "operator heartbeat");
  assert.equal(stop.record?.reason, "no heartbeat for 501 ms, at most 500 ms are allowed");
  watch.poll();
  assert.equal(stop.record?.requests, 1, "one silence is one request");
});

Deno.test("HeartbeatWatch sets the latch again if it is released in silence", () => {
  const { clock, stop } = bench();
  const watch = new HeartbeatWatch({ timeoutMs: 500, now: () => clock.ms, stop });
  clock.ms = 5000;
  watch.poll();
  stop.release("operator");
  watch.poll();
  assert.equal(stop.isActive, true);
  watch.beat();
  assert.equal(stop.isActive, true, "a beat alone releases nothing");
  stop.release("operator");
  assert.equal(watch.poll(), true);
  assert.equal(stop.isActive, false);
});

Deno.test("HeartbeatWatch takes a broken clock for a lost operator", () => {
  for (const broken of [NaN, -1e9, Infinity]) {
    const { clock, stop } = bench();
    const watch = new HeartbeatWatch({ timeoutMs: 500, now: () => clock.ms, stop });
    clock.ms = broken;
    assert.equal(watch.poll(), false, String(broken));
    assert.equal(stop.isActive, true);
  }
  const { stop } = bench();
  for (const timeoutMs of [0, -1, NaN, Infinity]) {
    assert.throws(() => new HeartbeatWatch({ timeoutMs, now: () => 0, stop }), RangeError);
  }
});
