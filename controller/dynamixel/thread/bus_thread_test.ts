import assert from "node:assert/strict";
import { StopLatch } from "../../safety/stop_latch.ts";
import { sharedNowMs } from "../../threads/clock.ts";
import { BusError, type BusFault } from "../bus.ts";
import { NO_FAULTS } from "../emulator/faults.ts";
import { DXL_LIBRARY_VARIABLE, findDxlLibrary, isFile } from "../sdk/find_library.ts";
import { GOAL_IDS, SERVO_IDS } from "./bus_memory.ts";
import { jitterPercentile } from "./bus_readings.ts";
import { BusThread } from "./bus_thread.ts";
import { SetpointWriter } from "./setpoint_writer.ts";
import { cyclesOf, startArm, type TestArm, until } from "./testing.ts";

// Goals that every servo of the arm takes: all ranges hold 2048 ± 100.
const [START, NEXT, OTHER] = [2048, 2060, 2030];
const faultIs = (fault: BusFault) => (error: unknown) =>
  error instanceof BusError && error.fault === fault;

function test(name: string, run: () => Promise<void>): void {
  Deno.test({ name: `BusThread ${name}`, ignore: Deno.build.os !== "linux" }, run);
}

async function goalsOf({ host }: TestArm): Promise<unknown[]> {
  const get = (id: number) => host.command(0, { kind: "get", id, item: "goalPosition" });
  return await Promise.all(GOAL_IDS.map(get));
}

/** Torque on, driving, the first setpoint written. */
async function drive(arm: TestArm, ticks = START): Promise<SetpointWriter> {
  for (const id of SERVO_IDS) await arm.thread.write(id, "torqueEnable", 1);
  const setpoints = new SetpointWriter(arm.thread.memory);
  await arm.thread.setMode("drive");
  await follow(arm, setpoints, ticks);
  return setpoints;
}

/** Write a setpoint, again and again like a motion thread, until a cycle has sent it. */
async function follow(
  { thread }: TestArm,
  setpoints: SetpointWriter,
  ticks: number,
): Promise<void> {
  await until(() => {
    setpoints.write(ticks);
    return thread.readState()?.servos[0].goalTicks === ticks;
  }, `${ticks} is written`);
}

const all = (ticks: number) => GOAL_IDS.map(() => ticks);

test("carries setpoints to the servos and states back", async () => {
  await using arm = await startArm(100);
  const { thread } = arm;
  assert.match(thread.driverReason, /embedded driver/);
  assert.equal(thread.readState(), null);
  await drive(arm);
  assert.deepEqual(await goalsOf(arm), all(START));
  await until(
    () => thread.readState()!.servos.every(({ positionTicks }) => positionTicks === START),
    "the arm is there",
  );
  const state = thread.readState()!;
  assert.deepEqual(state.servos.map(({ id }) => id), [...GOAL_IDS]);
  assert.ok(state.servos.every(({ hasAnswered, hasAlert }) => hasAnswered && !hasAlert));
  assert.ok(state.timeMs <= sharedNowMs() + 1 && state.timeMs > sharedNowMs() - 10_000);
  const counters = thread.counters();
  assert.equal(counters.moved, 1);
  assert.ok(counters.lastMovedMs > 0 && counters.cycles > 0);
  await thread.resetCounters();
  assert.equal(thread.counters().moved, 0);
});

const { os, arch } = Deno.build;
const variable = Deno.env.get(DXL_LIBRARY_VARIABLE);
const finding = findDxlLibrary({ variable, os, arch, isFile });
const library = finding.path;

Deno.test({
  name: `BusThread drives with ROBOTIS' library${
    finding.path === undefined ? `: ${finding.sentence}` : ""
  }`,
  ignore: library === undefined,
}, async () => {
  await using arm = await startArm(50, {}, { driver: "sdk", library });
  const { thread, host } = arm;
  const setpoints = await drive(arm);
  await host.command(0, { kind: "hardwareError", id: 6, bits: 0x01 });
  await until(() => thread.readHealth()?.servos[5].hardwareError === 1, "the alert is read");
  arm.latch.set("hold");
  setpoints.write(NEXT);
  await cyclesOf(thread, 3);
  assert.deepEqual(await goalsOf(arm), all(START));
  await host.command(0, { kind: "unplug" });
  await until(() => arm.events.some(({ kind }) => kind === "lost"), "the bus is lost");
});

test("writes nothing before the first setpoint, nor one that is stale", async () => {
  await using arm = await startArm(100);
  const { thread } = arm;
  const before = await goalsOf(arm);
  const setpoints = new SetpointWriter(thread.memory);
  setpoints.write(NEXT, sharedNowMs() - 1_000);
  await thread.setMode("drive");
  await cyclesOf(thread, 5);
  assert.deepEqual(await goalsOf(arm), before);
  assert.ok(Number.isNaN(thread.readState()!.servos[0].goalTicks));
  assert.deepEqual([thread.counters().moved, thread.counters().repeated], [0, 0]);
});

test("repeats the last goals while the motion thread is late", async () => {
  await using arm = await startArm(100);
  const setpoints = await drive(arm);
  for (const id of GOAL_IDS) {
    await arm.host.command(0, { kind: "set", id, item: "goalPosition", value: OTHER });
  }
  const before = arm.thread.counters();
  await cyclesOf(arm.thread, 6);
  const after = arm.thread.counters();
  assert.ok(after.repeated - before.repeated >= 5);
  assert.equal(after.moved, 1);
  assert.deepEqual(await goalsOf(arm), all(START), "the goals are written all the same");
  await follow(arm, setpoints, NEXT);
  assert.equal(arm.thread.counters().moved, 2);
});

test("never writes a setpoint that is no number or out of range", async () => {
  await using arm = await startArm(100);
  const setpoints = await drive(arm);
  for (const bad of [NaN, Infinity, -Infinity, 1_048_576, -1_048_576]) {
    const ticks = all(NEXT);
    ticks[3] = bad;
    setpoints.write(ticks);
    await cyclesOf(arm.thread, 2);
    assert.deepEqual(await goalsOf(arm), all(START), `${bad}`);
  }
  setpoints.write(NEXT, NaN);
  await cyclesOf(arm.thread, 2);
  assert.equal(arm.thread.counters().moved, 1);
  await follow(arm, setpoints, NEXT);
  assert.deepEqual(await goalsOf(arm), all(NEXT));
});

test("holds while the emergency stop does, and until a setpoint from after it", async () => {
  await using arm = await startArm(100);
  const { thread, latch } = arm;
  const setpoints = await drive(arm);
  latch.set("hold");
  const setMs = sharedNowMs();
  await until(() => thread.counters().stopSeenMs > 0, "the stop is seen");
  for (let i = 0; i < 5; i++) {
    setpoints.write(NEXT);
    await cyclesOf(thread, 1);
  }
  const { moved, lastMovedMs, stopSeenMs } = thread.counters();
  assert.equal(moved, 1);
  assert.ok(lastMovedMs <= setMs + 1, "no goal was moved after the stop");
  assert.ok(stopSeenMs >= setMs - 1);
  assert.deepEqual(await goalsOf(arm), all(START));
  await assert.rejects(
    thread.write(1, "goalPosition", NEXT),
    /emergency stop \(hold\) is in force/,
  );
  const beforeMs = sharedNowMs();
  setpoints.write(OTHER, beforeMs);
  latch.clear();
  await cyclesOf(thread, 3);
  assert.deepEqual(await goalsOf(arm), all(START), "a setpoint from before the release is none");
  assert.equal(thread.mode, "drive");
  await follow(arm, setpoints, OTHER);
  assert.deepEqual(await goalsOf(arm), all(OTHER));
});

test("turns torque off at once, again and again, and drives no more", async () => {
  await using arm = await startArm(50);
  const { thread, latch, host } = arm;
  const setpoints = await drive(arm);
  const torqueOf = (id: number) => host.command(0, { kind: "get", id, item: "torqueEnable" });
  latch.set("torque-off");
  await until(() => arm.events.some(({ kind }) => kind === "mode"), "the mode has changed");
  assert.equal(thread.mode, "monitor");
  await cyclesOf(thread, 1);
  assert.deepEqual(await Promise.all(SERVO_IDS.map(torqueOf)), SERVO_IDS.map(() => 0));
  setpoints.write(NEXT);
  await assert.rejects(thread.write(1, "torqueEnable", 1), faultIs("refused"));
  await assert.rejects(thread.setMode("drive"), /torque-off\) is in force; release it first/);
  await host.command(0, { kind: "set", id: 1, item: "torqueEnable", value: 1 });
  await cyclesOf(thread, 8);
  assert.equal(await torqueOf(1), 0, "whoever turned it on, it is off again");
  assert.equal(thread.counters().moved, 1);
  latch.clear();
  await thread.write(1, "torqueEnable", 1);
  await cyclesOf(thread, 8);
  assert.equal(await torqueOf(1), 1);
  assert.equal(thread.mode, "monitor");
});

test("turns torque off in every mode", async () => {
  await using arm = await startArm(50);
  await arm.thread.write(4, "torqueEnable", 1);
  arm.latch.set("torque-off");
  await until(() => arm.thread.counters().stopSeenMs > 0, "the stop is seen");
  assert.equal(await arm.thread.read(4, "torqueEnable"), 0);
  assert.equal(arm.thread.mode, "idle");
});

test("loses its bus, says so once, and opens it again", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using arm = await startArm(100, { linkPath: `${folder}/ttyDXL_puppet_left` });
    const { thread, host, events } = arm;
    await drive(arm);
    await host.command(0, { kind: "unplug" });
    await until(() => events.length > 0, "the bus is lost");
    assert.equal(thread.mode, "idle");
    const { cycle } = thread.readState()!;
    await assert.rejects(thread.ping(1), faultIs("device"));
    await assert.rejects(thread.setMode("drive"), faultIs("device"));
    await host.command(0, { kind: "plug" });
    await until(() => events.length > 1, "the bus is back");
    assert.deepEqual(events.map(({ kind }) => kind), ["lost", "back"]);
    assert.match(arm.lines[0], /^The left arm is lost: .*ttyDXL_puppet_left/);
    assert.equal(thread.readState()!.cycle, cycle, "it does not go on by itself");
    assert.equal((await thread.ping(1)).model, 1120);
    assert.equal(thread.counters().reconnects, 1);
    await thread.setMode("monitor");
    await cyclesOf(thread, 3);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

test("tells of servos that fall silent and come back", async () => {
  await using arm = await startArm(100);
  const { thread, host, events } = arm;
  await thread.setMode("monitor");
  await cyclesOf(thread, 3);
  const known = thread.readState()!.servos[2].positionTicks;
  await host.command(0, { kind: "vanish", id: 4 });
  await host.command(0, { kind: "vanish", id: 5 });
  await until(() => silentIds(arm).length === 2, "both are silent");
  assert.deepEqual(silentIds(arm).sort(), [4, 5]);
  await cyclesOf(thread, 20);
  assert.equal(silentIds(arm).length, 2, "silence is told of once");
  const servos = thread.readState()!.servos;
  assert.deepEqual(servos.map(({ hasAnswered }) => hasAnswered), GOAL_IDS.map((id) => id !== 4));
  assert.equal(servos[2].positionTicks, known);
  assert.ok(thread.counters().incomplete > 0);
  await assert.rejects(thread.ping(5), faultIs("timeout"));
  await host.command(0, { kind: "bringBack", id: 4, hasLostPower: false });
  await host.command(0, { kind: "bringBack", id: 5, hasLostPower: false });
  const heard = () => events.flatMap((event) => event.kind === "heard" ? event.ids : []);
  await until(() => heard().length === 2, "both are heard again");
  assert.match(arm.lines.join("\n"), /No answer from servo [45] of the left arm/);
});

test("logs no silence that is expected, but what lasts longer", async () => {
  await using arm = await startArm(100);
  const { thread, host, events, lines } = arm;
  const heard = () => events.flatMap((event) => event.kind === "heard" ? event.ids : []);
  await thread.setMode("monitor");
  await cyclesOf(thread, 3);
  thread.expectSilence([4, 9]);
  await host.command(0, { kind: "vanish", id: 4 });
  await host.command(0, { kind: "vanish", id: 9 });
  await until(() => silentIds(arm).length === 2, "both are silent");
  await host.command(0, { kind: "bringBack", id: 9, hasLostPower: false });
  await until(() => heard().length === 1, "the gripper is heard again");
  assert.deepEqual(lines, [], "events come, lines do not");
  thread.expectSilence([]);
  assert.deepEqual(lines, ["No answer from servo 4 of the left arm"]);
  await host.command(0, { kind: "bringBack", id: 4, hasLostPower: false });
  await until(() => heard().length === 2, "the elbow is heard again");
  assert.deepEqual(lines.slice(1), ["Answers again from servo 4 of the left arm"]);
  await host.command(0, { kind: "vanish", id: 9 });
  await until(() => lines.length === 3, "silence that nobody expects is told of");
});

function silentIds({ events }: TestArm): number[] {
  return events.flatMap((event) => event.kind === "silent" ? [...event.ids] : []);
}

test("serves calls while it drives, whatever the rate", async () => {
  await using arm = await startArm(200);
  const { thread } = arm;
  await drive(arm);
  for (const id of SERVO_IDS) assert.equal((await thread.ping(id)).error, 0);
  assert.equal(await thread.read(9, "operatingMode"), 5);
  await thread.write(1, "profileVelocity", 40);
  const together = SERVO_IDS.map((id) => thread.read(id, "id"));
  assert.deepEqual(await Promise.all(together), [...SERVO_IDS]);
  assert.equal(await thread.read(1, "profileVelocity"), 40);
  await assert.rejects(
    thread.write(1, "driveMode", 1),
    (error: unknown) =>
      faultIs("refused")(error) &&
      /write 1 to driveMode of servo 1 .*access error/.test(`${error}`),
  );
  await assert.rejects(thread.write(1, "torqueEnable", 0.5), RangeError);
  await assert.rejects(thread.ping(253), RangeError);
  await thread.reboot(9);
  await until(() => thread.readState()!.servos.every(({ hasAnswered }) => hasAnswered), "9 is up");
});

test("reads the health of all servos, and soon that of one with an alert", async () => {
  await using arm = await startArm(100);
  const { thread, host } = arm;
  assert.equal(thread.readHealth(), null);
  await thread.setMode("monitor");
  const isWhole = () =>
    thread.readHealth()?.servos.every((servo) => Object.values(servo).every(Number.isFinite));
  await until(() => isWhole() === true, "all health is known");
  const [waist] = thread.readHealth()!.servos;
  assert.deepEqual(waist, {
    id: 1,
    hardwareError: 0,
    torque: 0,
    watchdog: 0,
    voltage: 120,
    temperatureC: 25,
  });
  await host.command(0, { kind: "hardwareError", id: 6, bits: 0x20 });
  await until(() => thread.readHealth()!.servos[5].hardwareError === 0x20, "the alert is read");
  assert.ok(thread.readState()!.servos[3].hasAlert);
});

test("keeps fed the watchdogs of servos that it drives", async () => {
  await using arm = await startArm(50);
  await drive(arm);
  for (const id of SERVO_IDS) await arm.thread.write(id, "busWatchdog", 15);
  await cyclesOf(arm.thread, 30);
  const watchdog = () => arm.thread.readHealth()!.servos.map(({ watchdog }) => watchdog);
  await until(() => watchdog().every((value) => value !== 0), "all watchdogs are read");
  assert.deepEqual(watchdog(), SERVO_IDS.map(() => 15));
  for (const id of SERVO_IDS) await arm.thread.write(id, "busWatchdog", 0);
});

test("asks again for lost packets and seldom goes without an answer", async () => {
  await using arm = await startArm(50, { seed: 5 });
  await drive(arm);
  await arm.host.command(0, { kind: "faults", rates: { ...NO_FAULTS, drop: 0.05 } });
  await arm.thread.resetCounters();
  await cyclesOf(arm.thread, 60);
  const { cycles, retries, incomplete } = arm.thread.counters();
  assert.ok(retries > 5, `${retries} retries`);
  // A cycle loses a packet with probability 0.34, and the one that is asked for again with about 0.1.
  assert.ok(incomplete < 0.3 * cycles, `${incomplete} of ${cycles} cycles are incomplete`);
  assert.ok(!arm.events.some(({ kind }) => kind === "lost"));
});

test("goes on at 200 Hz and counts every deadline", async () => {
  await using arm = await startArm(200);
  const { thread } = arm;
  const setpoints = await drive(arm);
  await thread.resetCounters();
  const startMs = sharedNowMs();
  await until(() => {
    setpoints.write(START + Math.round(10 * Math.sin((sharedNowMs() - startMs) / 100)));
    return thread.counters().cycles >= 200;
  }, "200 cycles have run");
  const seconds = (sharedNowMs() - startMs) / 1000;
  const { cycles, missed, jitter } = thread.counters();
  assert.ok(
    Math.abs(cycles + missed - 200 * seconds) <= 5,
    `${cycles} + ${missed} in ${seconds} s`,
  );
  assert.equal(jitter.reduce((sum, count) => sum + count, 0), cycles);
  assert.ok(jitterPercentile(thread.counters(), 0.5) <= 5);
});

test("opens the bus again after it was closed, and shuts others out before", async () => {
  await using arm = await startArm();
  const options = {
    name: "left arm",
    openBus: { port: arm.thread.port, baudRate: 1_000_000, driver: "builtin" },
    rateHz: 50,
    epochMs: 0,
    latch: arm.latch.memory,
    logger: { info() {}, warn() {}, error() {} },
  } as const;
  await assert.rejects(BusThread.open(options), faultIs("busy"));
  // Answered or rejected, but not left waiting.
  const waiting = arm.thread.ping(1).catch(() => undefined);
  await arm.thread[Symbol.asyncDispose]();
  await waiting;
  await assert.rejects(arm.thread.ping(1), faultIs("device"));
  await using again = await BusThread.open(options);
  assert.equal((await again.ping(9)).model, 1020);
});

test("says why it cannot be opened", async () => {
  const open = (port: string, library = "") =>
    BusThread.open({
      name: "left arm",
      openBus: { port, baudRate: 1_000_000, driver: library === "" ? "builtin" : "sdk", library },
      rateHz: 50,
      epochMs: 0,
      latch: new StopLatch().memory,
      logger: { info() {}, warn() {}, error() {} },
    });
  await assert.rejects(open("/dev/tty-that-is-not-there"), faultIs("device"));
  await assert.rejects(open("/dev/null", "/nowhere/libdxl.so"), /--dxl-library/);
});

test("survives the end of its thread", async () => {
  for (const how of ["throws", "says so"]) {
    const source = `self.onmessage = ({ data }) => {
      if (data.kind === "open") return self.postMessage({ kind: "opened", reason: "", realtime: "" });
      if (${how === "throws"}) throw new Error("a bug");
      self.postMessage({ kind: "crashed", message: "a bug" });
    };`;
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const lines: string[] = [];
    const events: unknown[] = [];
    const log = (line: string) => void lines.push(line);
    await using thread = await BusThread.open({
      name: "left arm",
      openBus: { port: "/dev/ttyX", baudRate: 1_000_000 },
      rateHz: 50,
      epochMs: 0,
      latch: new StopLatch().memory,
      logger: { info: log, warn: log, error: log },
      onEvent: (event) => events.push(event),
      startWorker: () => new Worker(url, { type: "module" }),
    });
    URL.revokeObjectURL(url);
    const calls = await Promise.allSettled([thread.ping(1), thread.setMode("drive")]);
    for (const call of calls) {
      assert.ok(call.status === "rejected" && faultIs("device")(call.reason), how);
    }
    await assert.rejects(thread.read(1, "id"), /thread of .dev.ttyX has failed: .*a bug/);
    assert.equal(events.length, 1);
    assert.match(lines[0], /The left arm is lost/);
  }
});
