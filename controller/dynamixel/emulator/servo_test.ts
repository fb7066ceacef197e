import assert from "node:assert/strict";
import { CONTROL_TABLE, type ControlItemName, encodeItem, SERVO_MODELS } from "../control_table.ts";
import { HARDWARE_ERROR, STATUS_ERROR } from "../protocol/status_error.ts";
import { Servo, type ServoOptions } from "./servo.ts";

const MODEL = SERVO_MODELS["XM540-W270"];

function servo(settings: ServoOptions["settings"] = {}, shaftTicks = 2048): Servo {
  const made = new Servo({ model: MODEL, settings, shaftTicks });
  made.advance(0);
  return made;
}

function write(target: Servo, name: ControlItemName, value: number, isShadow = false): number {
  const item = CONTROL_TABLE[name];
  return target.write(item.address, encodeItem(item, value), isShadow);
}

/** A servo with torque on. */
function running(settings: ServoOptions["settings"] = {}): Servo {
  const made = servo(settings);
  assert.equal(write(made, "torqueEnable", 1), STATUS_ERROR.none);
  return made;
}

Deno.test("Servo locks its EEPROM while torque is on, and read-only items always", () => {
  const target = running();
  assert.equal(write(target, "driveMode", 1), STATUS_ERROR.access);
  assert.equal(write(target, "presentPosition", 0), STATUS_ERROR.access);
  assert.equal(write(target, "torqueEnable", 0), STATUS_ERROR.none);
  assert.equal(write(target, "driveMode", 1), STATUS_ERROR.none);
  assert.equal(write(target, "driveMode", 0, true), STATUS_ERROR.access);
  assert.equal(target.get("driveMode"), 1);
});

Deno.test("Servo tells range, limit, length and access errors apart, and writes all or nothing", () => {
  const target = servo({ minPositionLimit: 841, maxPositionLimit: 2867, velocityLimit: 131 });
  assert.equal(write(target, "torqueEnable", 2), STATUS_ERROR.dataRange);
  assert.equal(write(target, "operatingMode", 2), STATUS_ERROR.dataRange);
  assert.equal(write(target, "busWatchdog", -1), STATUS_ERROR.dataRange);
  assert.equal(write(target, "goalPosition", 840), STATUS_ERROR.dataLimit);
  assert.equal(write(target, "goalPosition", 2868), STATUS_ERROR.dataLimit);
  assert.equal(write(target, "goalVelocity", -132), STATUS_ERROR.dataLimit);
  assert.equal(write(target, "goalCurrent", 2048), STATUS_ERROR.dataRange);
  assert.equal(target.write(116, Uint8Array.of(0, 4)), STATUS_ERROR.dataLength);
  assert.equal(target.write(116, new Uint8Array()), STATUS_ERROR.dataLength);
  assert.equal(target.write(117, Uint8Array.of(4)), STATUS_ERROR.access);
  assert.equal(target.write(500, Uint8Array.of(4)), STATUS_ERROR.access);
  // Acceleration would fit, but the velocity behind it does not.
  const both = Uint8Array.of(10, 0, 0, 0, 0xff, 0xff, 0, 0);
  assert.equal(target.write(108, both), STATUS_ERROR.dataRange);
  assert.equal(target.get("profileAcceleration"), 0);
  assert.equal(target.write(108, Uint8Array.of(10, 0, 0, 0, 20, 0, 0, 0)), STATUS_ERROR.none);
  assert.deepEqual([target.get("profileAcceleration"), target.get("profileVelocity")], [10, 20]);
});

Deno.test("Servo reads any stretch of its table and nothing beyond it", () => {
  const target = servo();
  assert.deepEqual([...(target.read(0, 2) ?? [])], [0x60, 0x04]);
  assert.equal(target.read(0, 148)?.length, 148);
  assert.equal(target.read(0, 149), undefined);
  assert.equal(target.read(132, 0), undefined);
  assert.equal(target.read(148, 1), undefined);
});

Deno.test("Servo moves by its profile only while torque is on", () => {
  const target = servo();
  write(target, "goalPosition", 3000);
  target.advance(1000);
  assert.equal(target.get("presentPosition"), 2048);
  write(target, "torqueEnable", 1);
  assert.equal(target.get("goalPosition"), 2048, "torque holds the pose it finds");
  write(target, "profileVelocity", 65);
  write(target, "profileAcceleration", 20);
  write(target, "goalPosition", 3048);
  // 65 · 0.229 rpm = 1016 ticks/s; 20 · 214.577 rpm² = 4883 ticks/s²: 1000 ticks in 0.984 s + 0.208 s.
  target.advance(1500);
  assert.equal(target.get("presentVelocity"), 65);
  assert.equal(target.get("moving"), 1);
  target.advance(1000 + 1160);
  assert.ok(target.get("presentPosition") < 3048);
  target.advance(1000 + 1200);
  assert.equal(target.get("presentPosition"), 3048);
  assert.deepEqual([target.get("moving"), target.get("presentVelocity")], [0, 0]);
});

Deno.test("Servo without a profile moves as fast as its motor can", () => {
  const target = running();
  write(target, "goalPosition", 3072);
  target.advance(250);
  // 30 rev/min are 2048 ticks/s.
  assert.equal(target.get("presentPosition"), 2560);
  target.advance(600);
  assert.equal(target.get("presentPosition"), 3072);
});

Deno.test("Servo with a time-based profile arrives in the time it is given", () => {
  const target = running({ driveMode: 4 });
  write(target, "profileVelocity", 2000);
  write(target, "profileAcceleration", 500);
  write(target, "goalPosition", 3048);
  target.advance(1950);
  assert.equal(target.get("moving"), 0, "it is slow at the end");
  assert.ok(target.get("presentPosition") < 3048);
  target.advance(2010);
  assert.equal(target.get("presentPosition"), 3048);
});

Deno.test("Servo keeps a registered write for the action", () => {
  const target = running();
  const goal = encodeItem(CONTROL_TABLE.goalPosition, 2100);
  assert.equal(target.action(), STATUS_ERROR.instruction);
  assert.equal(target.registerWrite(116, Uint8Array.of(1)), STATUS_ERROR.dataLength);
  assert.equal(target.registerWrite(116, goal), STATUS_ERROR.none);
  assert.deepEqual([target.get("registeredInstruction"), target.get("goalPosition")], [1, 2048]);
  assert.equal(target.action(), STATUS_ERROR.none);
  assert.deepEqual([target.get("registeredInstruction"), target.get("goalPosition")], [0, 2100]);
});

Deno.test("Servo's Bus_Watchdog stops it and locks its goals until 0 is written", () => {
  const target = running();
  target.heard(0);
  write(target, "busWatchdog", 5);
  write(target, "goalPosition", 4000);
  target.advance(100);
  assert.equal(target.get("busWatchdog"), 5);
  target.advance(101);
  assert.equal(target.get("busWatchdog"), -1);
  assert.deepEqual([...(target.read(98, 1) ?? [])], [0xff]);
  const stopped = target.get("presentPosition");
  target.heard(102);
  target.advance(500);
  assert.equal(target.get("presentPosition"), stopped);
  assert.equal(target.get("torqueEnable"), 1);
  for (const name of ["goalPosition", "goalCurrent", "goalVelocity", "goalPwm"] as const) {
    assert.equal(write(target, name, 100), STATUS_ERROR.dataRange, name);
  }
  assert.equal(write(target, "busWatchdog", 5), STATUS_ERROR.dataRange);
  assert.equal(write(target, "busWatchdog", 0), STATUS_ERROR.none);
  target.advance(600);
  assert.equal(target.get("presentPosition"), stopped, "it does not take up the old goal");
  assert.equal(write(target, "goalPosition", 2048), STATUS_ERROR.none);
  target.advance(3000);
  assert.equal(target.get("presentPosition"), 2048);
});

Deno.test("Servo's Bus_Watchdog waits for torque and for silence", () => {
  const target = servo();
  write(target, "busWatchdog", 1);
  target.advance(1000);
  assert.equal(target.get("busWatchdog"), 1, "torque is off");
  target.heard(1000);
  write(target, "torqueEnable", 1);
  for (let ms = 1000; ms < 2000; ms += 20) {
    target.heard(ms);
    target.advance(ms + 20);
  }
  assert.equal(target.get("busWatchdog"), 1);
});

Deno.test("Servo reverses its direction and adds its homing offset", () => {
  const reversed = running({ driveMode: 1 });
  write(reversed, "goalPosition", 2148);
  reversed.advance(1000);
  assert.deepEqual([reversed.get("presentPosition"), reversed.shaftTicks], [2148, 1948]);
  assert.equal(servo({ homingOffset: 100 }).get("presentPosition"), 2148);
  assert.equal(servo({ homingOffset: 2000 }).get("presentPosition"), 2048, "too much for mode 3");
  assert.equal(servo({ homingOffset: 2000, operatingMode: 4 }).get("presentPosition"), 4048);
  const changed = servo();
  write(changed, "homingOffset", -48);
  assert.equal(changed.get("presentPosition"), 2000);
});

Deno.test("Servo in mode 5 pushes against an obstacle with no more than Goal_Current", () => {
  const gripper = running({ operatingMode: 5 });
  gripper.surround({ obstacleTicks: [-Infinity, 2200], loadMa: 0 });
  write(gripper, "goalCurrent", 200);
  write(gripper, "goalPosition", 3000);
  gripper.advance(5000);
  assert.equal(gripper.get("presentPosition"), 2200);
  assert.equal(gripper.get("presentCurrent"), 200);
  assert.equal(gripper.get("hardwareErrorStatus"), 0);
  // Several turns are allowed here, whatever the position limits.
  assert.equal(write(gripper, "goalPosition", -5000), STATUS_ERROR.none);
});

Deno.test("Servo that stays stalled shuts down, says so, and needs a reboot", () => {
  const target = running();
  target.surround({ obstacleTicks: [-Infinity, 2200] });
  write(target, "goalPosition", 4000);
  target.advance(1000);
  assert.equal(target.get("hardwareErrorStatus"), 0);
  target.advance(4000);
  assert.equal(target.get("hardwareErrorStatus"), HARDWARE_ERROR.overload);
  assert.equal(target.get("torqueEnable"), 0);
  assert.equal(target.errorByte(STATUS_ERROR.none), 0x80);
  assert.equal(write(target, "torqueEnable", 1), STATUS_ERROR.access);
  target.surround({ obstacleTicks: [-Infinity, Infinity] });
  target.reboot(4000);
  assert.equal(target.isAwake(4200), false);
  assert.equal(target.isAwake(4300), true);
  assert.equal(target.errorByte(STATUS_ERROR.none), 0);
  assert.equal(write(target, "torqueEnable", 1), STATUS_ERROR.none);
});

Deno.test("Servo shuts down only for the errors that Shutdown names", () => {
  const hot = running();
  hot.setTemperatureC(85);
  hot.advance(1);
  assert.deepEqual([hot.get("presentTemperature"), hot.get("torqueEnable")], [85, 0]);
  assert.equal(hot.get("hardwareErrorStatus"), HARDWARE_ERROR.overheating);
  const low = running();
  low.surround({ supplyV: 9 });
  assert.equal(low.get("presentInputVoltage"), 90, "measured before time passes");
  low.advance(1);
  assert.equal(low.get("presentInputVoltage"), 90);
  assert.equal(low.get("hardwareErrorStatus"), HARDWARE_ERROR.inputVoltage);
  assert.equal(low.get("torqueEnable"), 1, "bit 0 is not among Shutdown's by default");
  const shocked = running();
  shocked.raiseHardwareError(HARDWARE_ERROR.electricalShock);
  assert.equal(shocked.get("torqueEnable"), 0);
});

Deno.test("Servo warms with its current and cools without", () => {
  const target = running();
  target.surround({ loadMa: 3000 });
  for (let s = 1; s <= 120; s++) target.advance(s * 1000);
  const warm = target.get("presentTemperature");
  assert.ok(warm > 60 && warm < 100, `${warm} °C`);
  write(target, "torqueEnable", 0);
  for (let s = 121; s <= 400; s++) target.advance(s * 1000);
  assert.ok(target.get("presentTemperature") < warm - 20);
  assert.equal(target.get("presentCurrent"), 0);
});

Deno.test("reboot() keeps the EEPROM and clears the RAM", () => {
  const target = running({ id: 7, positionPGain: 800 });
  write(target, "positionPGain", 300);
  write(target, "busWatchdog", 4);
  target.reboot(10);
  assert.equal(target.get("id"), 7);
  assert.deepEqual(
    ["positionPGain", "busWatchdog", "torqueEnable"].map((n) => target.get(n as ControlItemName)),
    [800, 0, 0],
  );
});

Deno.test("clearTurns() brings the position into one turn", () => {
  const target = servo({ operatingMode: 4 }, 4096 * 3 + 10);
  assert.equal(target.get("presentPosition"), 12_298);
  assert.equal(target.clearTurns(), STATUS_ERROR.none);
  assert.equal(target.get("presentPosition"), 10);
  write(target, "torqueEnable", 1);
  assert.equal(target.clearTurns(), STATUS_ERROR.resultFail);
});

Deno.test("advance() gives the same motion whatever the steps, and survives a clock that leaps", () => {
  const [coarse, fine] = [running(), running()];
  for (const target of [coarse, fine]) {
    write(target, "profileAcceleration", 10);
    write(target, "goalPosition", 3500);
  }
  coarse.advance(700);
  for (let ms = 0.25; ms <= 700; ms += 0.25) fine.advance(ms);
  assert.equal(coarse.shaftTicks, fine.shaftTicks);
  coarse.advance(1e12);
  coarse.advance(5);
  assert.ok(Number.isFinite(coarse.shaftTicks));
});
