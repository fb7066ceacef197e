import assert from "node:assert/strict";
import type { BusHealth, BusState } from "../../controller/dynamixel/thread/bus_readings.ts";
import { GOAL_IDS, SERVO_IDS } from "../../controller/dynamixel/thread/bus_memory.ts";
import { redraw } from "./monitor.ts";
import { monitorRows, monitorTable } from "./monitor_table.ts";

const STATE: BusState = {
  timeMs: 0,
  cycle: 1,
  servos: GOAL_IDS.map((id) => ({
    id,
    hasAnswered: id !== 7,
    hasAlert: false,
    positionTicks: 3072,
    velocity: -10,
    current: 100,
    goalTicks: NaN,
  })),
};

const HEALTH: BusHealth = {
  timeMs: 0,
  servos: SERVO_IDS.map((id) => ({
    id,
    hardwareError: id === 2 ? 36 : 0,
    torque: id === 9 ? NaN : 1,
    watchdog: id === 1 ? -1 : id === 2 ? 4 : 0,
    voltage: 119,
    temperatureC: 31,
  })),
};

Deno.test("monitorRows() gives physical units, and null for what is not known", () => {
  const [waist, , shadow, ...rest] = monitorRows("left", STATE, HEALTH);
  assert.equal(waist.name, "left_waist");
  assert.ok(Math.abs(waist.positionRad! - Math.PI / 2) < 1e-9);
  assert.ok(Math.abs(waist.velocityRadS! + 0.2398) < 1e-3);
  assert.ok(Math.abs(waist.currentMa! - 269) < 1e-6);
  assert.ok(Math.abs(waist.voltageV! - 11.9) < 1e-9);
  assert.equal(waist.hasTorque, true);
  assert.deepEqual([shadow.positionRad, shadow.hasAnswered], [null, null]);
  assert.equal(rest.at(-1)!.hasTorque, null);
  const nothing = monitorRows("right", null, null);
  assert.equal(nothing.length, 9);
  assert.deepEqual(JSON.parse(JSON.stringify(nothing)), nothing);
});

Deno.test("monitorTable() names errors, silence and watchdogs", () => {
  const lines = monitorTable(monitorRows("left", STATE, HEALTH)).split("\n").slice(2);
  assert.match(
    lines[0],
    /^left_waist +1 +1\.571 +3072 +-0\.24 +269 +31 +11\.9 +none +on +EXPIRED$/,
  );
  assert.match(lines[1], /overheating, overload +on +80 ms$/);
  assert.match(lines[2], /^left_shoulder_shadow +3 +- +- +- +- +31/);
  assert.match(lines[6], /^left_wrist_angle +7 +silent +- +- +- +31/);
  assert.match(lines[8], /- +off$/);
});

Deno.test("redraw() writes over the screen before, without clearing it first", () => {
  assert.equal(redraw("a\nb", true), "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
  assert.ok(!redraw("a", false).includes("\x1b[2J"));
});
