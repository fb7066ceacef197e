import assert from "node:assert/strict";
import { SERVO_MODELS } from "../control_table.ts";
import { HARDWARE_ERROR } from "../protocol/status_error.ts";
import { BusEmulator } from "./bus_emulator.ts";
import { Servo } from "./servo.ts";

const MODEL = SERVO_MODELS["XM540-W270"];
const START_TICKS = 2000;

/** A joint that two servos turn, facing each other; both report 2000 ticks. */
function joint(shadowTicks = START_TICKS) {
  const profile = { profileVelocity: 20, profileAcceleration: 5 };
  const master = new Servo({ model: MODEL, settings: { id: 2 }, shaftTicks: START_TICKS });
  const shadow = new Servo({
    model: MODEL,
    settings: { id: 3, driveMode: 1 },
    shaftTicks: 4096 - shadowTicks,
    boltedTo: 2,
  });
  // The bus bolts them; the shadow comes first, since the order of servos must not matter.
  const bus = new BusEmulator({ servos: [shadow, master] });
  bus.advance(0);
  for (const servo of [master, shadow]) {
    for (const [name, value] of Object.entries(profile)) {
      servo.set(name as keyof typeof profile, value);
    }
  }
  return { bus, master, shadow, positions: () => [master, shadow].map(position) };
}

function position(servo: Servo): number {
  return servo.get("presentPosition");
}

function enable(servo: Servo): void {
  assert.equal(servo.write(64, Uint8Array.of(1)), 0);
}

function moveTo(servo: Servo, ticks: number): void {
  assert.equal(servo.write(116, new Uint8Array(new Int32Array([ticks]).buffer)), 0);
}

Deno.test("Servos bolted together report one position all the way, and arrive", () => {
  const { bus, master, shadow, positions } = joint();
  for (const servo of [master, shadow]) {
    enable(servo);
    moveTo(servo, 2400);
  }
  for (let nowMs = 10; nowMs <= 3000; nowMs += 10) {
    bus.advance(nowMs);
    const [first, second] = positions();
    assert.equal(first, second, `after ${nowMs} ms`);
    assert.equal(master.get("presentVelocity"), shadow.get("presentVelocity"));
  }
  assert.deepEqual(positions(), [2400, 2400]);
});

Deno.test("A servo without torque turns with the one that it is bolted to, either way", () => {
  for (const driver of ["master", "shadow"] as const) {
    const parts = joint();
    enable(parts[driver]);
    moveTo(parts[driver], 1800);
    parts.bus.advance(100);
    const speeds = [parts.master, parts.shadow].map((servo) => servo.get("presentVelocity"));
    assert.ok(speeds[0] < 0 && speeds[0] === speeds[1], `${speeds}`);
    parts.bus.advance(3000);
    assert.deepEqual(parts.positions(), [1800, 1800]);
    const turned = parts.master.shaftTicks + parts.shadow.shaftTicks;
    assert.ok(Math.abs(turned - 4096) < 1e-9, `${turned}`);
  }
});

Deno.test("Servos bolted together that pull apart meet in the middle, until they overload", () => {
  const { bus, master, shadow, positions } = joint();
  for (const servo of [master, shadow]) enable(servo);
  moveTo(master, 2100);
  bus.advance(1000);
  assert.deepEqual(positions(), [2050, 2050]);
  assert.ok(master.get("presentCurrent") > 100, "one pushes on");
  assert.ok(shadow.get("presentCurrent") < -100, "the other holds against it");
  moveTo(master, 3600);
  bus.advance(8000);
  const errors = [master, shadow].map((servo) => servo.get("hardwareErrorStatus"));
  assert.ok(errors.some((bits) => bits & HARDWARE_ERROR.overload), `${errors}`);
});

Deno.test("What is in the way of one servo stops both that are bolted together", () => {
  const { bus, master, shadow, positions } = joint();
  shadow.surround({ obstacleTicks: [-Infinity, 2030] });
  for (const servo of [master, shadow]) {
    enable(servo);
    moveTo(servo, 2100);
  }
  bus.advance(1000);
  assert.deepEqual(positions(), [2030, 2030]);
});

Deno.test("Servos bolted together askew stay so by as much", () => {
  const { bus, master, positions } = joint(2040);
  enable(master);
  moveTo(master, 2300);
  bus.advance(3000);
  assert.deepEqual(positions(), [2300, 2340]);
});

Deno.test("BusEmulator refuses a servo that is bolted to one that there is not", () => {
  const servos = [new Servo({ model: MODEL, settings: { id: 3 }, boltedTo: 2 })];
  assert.throws(() => new BusEmulator({ servos }), /^RangeError: Cannot find servo 2: /);
});
