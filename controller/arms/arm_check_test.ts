import assert from "node:assert/strict";
import { BusError } from "../dynamixel/bus.ts";
import type { ControlItemName } from "../dynamixel/control_table.ts";
import { SERVO_MODELS } from "../dynamixel/control_table.ts";
import { armTable, checkArm } from "./arm_check.ts";
import { inspectServo } from "./inspect_servo.ts";
import { armWith, EmulatedArm } from "./testing.ts";

const linux = { ignore: Deno.build.os !== "linux" };

Deno.test(
  { ...linux, name: "checkArm() finds nothing wrong with an arm as it must be" },
  async () => {
    await using arm = await EmulatedArm.start();
    const check = await checkArm(arm.servos, "left");
    assert.deepEqual(check.problems, []);
    assert.equal(check.isFit, true);
    assert.deepEqual(check.rows.map(({ layout }) => layout.id), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.deepEqual(arm.servos.writes, [], "it writes nothing");
    const lines = armTable(check).split("\n");
    assert.match(lines[0], /^left arm on \/dev\/.*: fit to be prepared$/);
    assert.match(lines[6], /^elbow +4 +XM540-W270 +45 +3 +off +12.0 +25 +0 +3058 +1.549 +ok$/);
    assert.equal(lines.length, 12);
  },
);

/** Something wrong, and the sentence that must name it. */
type Wrong = readonly [
  id: number,
  item: ControlItemName,
  value: number,
  severity: "refuse" | "warn",
  sentence: RegExp,
];

const WRONG: readonly Wrong[] = [
  [4, "modelNumber", 1020, "refuse", /^left_elbow \(servo 4\): its model is 1020, must be 1120 /],
  [6, "firmwareVersion", 37, "refuse", /left_forearm_roll \(servo 6\): its firmware is 37, .* 38/],
  [7, "driveMode", 5, "refuse", /left_wrist_angle \(servo 7\): Drive_Mode is 5, must be 1/],
  [9, "operatingMode", 3, "warn", /left_gripper \(servo 9\): Operating_Mode is 3, must be 5; prep/],
  [3, "secondaryId", 255, "refuse", /left_shoulder_shadow \(servo 3\): Secondary_ID is 255, .* 2;/],
  [8, "secondaryId", 7, "refuse", /left_wrist_rotate \(servo 8\): Secondary_ID is 7, must be 255/],
  [1, "homingOffset", 1100, "refuse", /left_waist \(servo 1\): Homing_Offset is 1100, .* ±1024/],
  [3, "homingOffset", -12, "warn", /servo 3\): Homing_Offset is -12, .* update firmware 45 with/],
  [2, "minPositionLimit", 700, "refuse", /servo 2\): Min_Position_Limit is 700, must be 841; set/],
  [7, "maxPositionLimit", 4095, "refuse", /servo 7\): Max_Position_Limit is 4095, must be 3504/],
  [1, "velocityLimit", 128, "warn", /servo 1\): Velocity_Limit is 128, must be 131; preparing/],
  [1, "returnDelayTime", 250, "warn", /servo 1\): Return_Delay_Time is 250, must be 0; prep/],
  [6, "shutdown", 4, "warn", /servo 6\): Shutdown is 4, which leaves out .*; set it to 52/],
  [9, "presentPosition", -5000, "refuse", /servo 9\): it stands at -5000 ticks, .* restart/],
];

for (const [id, item, value, severity, sentence] of WRONG) {
  const name = `inspectServo() names a wrong ${item} of servo ${id}`;
  Deno.test({ ...linux, name }, async () => {
    // Registers that the emulator measures itself cannot be set: the values of a fit arm are changed.
    const fit = await fitValues();
    const row = fit.rows.find(({ layout }) => layout.id === id)!;
    const label = `left_${row.layout.name} (servo ${id})`;
    const findings = inspectServo(row.layout, { ...row.values!, [item]: value }, label);
    assert.deepEqual(findings.map((finding) => finding.severity), [severity]);
    assert.match(findings[0].sentence, sentence);
  });
}

let fitCheck: ReturnType<typeof checkArm> | undefined;

function fitValues(): ReturnType<typeof checkArm> {
  return fitCheck ??= (async () => {
    await using arm = await EmulatedArm.start();
    return await checkArm(arm.servos, "left");
  })();
}

Deno.test(
  { ...linux, name: "checkArm() names all that is wrong with a real bus's servos" },
  async () => {
    const swapped = armWith(8, {}, { model: SERVO_MODELS["XM540-W270"] });
    await using arm = await EmulatedArm.start(swapped);
    await arm.command({ kind: "vanish", id: 1 });
    await arm.set(2, "operatingMode", 1);
    await arm.command({ kind: "hardwareError", id: 4, bits: 0x24 });
    await arm.command({ kind: "temperature", id: 6, temperatureC: 70 });
    await arm.command({ kind: "temperature", id: 7, temperatureC: 57 });
    await arm.command({ kind: "surround", id: 7, change: { supplyV: 10.5 } });
    await arm.command({ kind: "surround", id: 9, change: { supplyV: 9 } });
    const check = await checkArm(arm.servos, "right");
    const expected: readonly [number, "refuse" | "warn", RegExp][] = [
      [
        1,
        "refuse",
        /^right_waist \(servo 1\) does not answer on .*cable and its power, .* ID is 1/,
      ],
      [2, "warn", /Operating_Mode is 1, must be 3; preparing the arm sets it/],
      [
        4,
        "refuse",
        /^right_elbow \(servo 4\): overheating, overload; let .* cool .*, free the joint/,
      ],
      [6, "refuse", /^right_forearm_roll \(servo 6\): it has 70 °C, must be below 65 °C/],
      [7, "warn", /supply is 10.5 V, expected 11.1–13 V/],
      [7, "warn", /it has 57 °C, expected below 55 °C/],
      [8, "refuse", /its model is 1120, must be 1020 \(XM430-W350\)/],
      [9, "refuse", /right_gripper \(servo 9\): input voltage out of range; check/],
      [9, "refuse", /supply is 9 V, the servo allows 9.5–16 V/],
    ];
    assert.deepEqual(
      check.problems.map(({ servoId, severity }) => [servoId, severity]),
      expected.map(([id, severity]) => [id, severity]),
    );
    expected.forEach(([, , sentence], i) => assert.match(check.problems[i].sentence, sentence));
    assert.equal(check.isFit, false);
    const table = armTable(check);
    assert.match(table, /^right arm on .*: refused\n/);
    assert.match(table, /\nwaist +1 +(- +){9}REFUSED\n/);
    assert.match(table, /\nwrist_angle .* warning\n/);
    assert.match(table, /\nREFUSED: right_waist \(servo 1\) does not answer/);
  },
);

Deno.test(
  { ...linux, name: "checkArm() refuses a shadow that disagrees with its master" },
  async () => {
    await using arm = await EmulatedArm.start(armWith(5, { homingOffset: -40 }));
    const check = await checkArm(arm.servos, "left");
    assert.equal(check.isFit, false);
    assert.match(
      check.problems.find(({ severity }) => severity === "refuse")?.sentence ?? "",
      /^left_elbow_shadow \(servo 5\): it stands at 3018 ticks, 40 from left_elbow \(servo 4\) at 3058/,
    );
  },
);

Deno.test({ ...linux, name: "checkArm() refuses a wrong mode while torque is on" }, async () => {
  await using arm = await EmulatedArm.start(armWith(6, { operatingMode: 4 }));
  await arm.servos.write(6, "torqueEnable", 1);
  const { problems } = await checkArm(arm.servos, "left");
  assert.deepEqual(problems.map(({ severity }) => severity), ["refuse"]);
  assert.match(problems[0].sentence, /must be 3, and its torque is on; lay .* robot torque-off/);
});

Deno.test(
  { ...linux, name: "checkArm() lets an arm with an expired watchdog pass, and says so" },
  async () => {
    await using arm = await EmulatedArm.start();
    await arm.servos.write(1, "torqueEnable", 1);
    await arm.servos.write(1, "busWatchdog", 4);
    await arm.advance(200);
    const { problems, isFit } = await checkArm(arm.servos, "left");
    assert.equal(isFit, true);
    assert.deepEqual(problems.map(({ servoId }) => servoId), [1]);
    assert.match(problems[0].sentence, /Bus_Watchdog has expired/);
  },
);

Deno.test(
  { ...linux, name: "checkArm() does not take a bus that is gone for nine lost servos" },
  async () => {
    await using arm = await EmulatedArm.start();
    await arm.command({ kind: "unplug" });
    await assert.rejects(
      checkArm(arm.servos, "left"),
      (error) => error instanceof BusError && error.fault === "device",
    );
  },
);

Deno.test(
  { ...linux, name: "checkArm() looks twice before it says that a servo does not answer" },
  async () => {
    await using arm = await EmulatedArm.start();
    const { servos } = arm;
    let silences = 3; // as many as a reading bears
    const { isFit, problems } = await checkArm({
      port: servos.port,
      ping: (id) => servos.ping(id),
      read: (id, item) =>
        id === 7 && item === "busWatchdog" && silences-- > 0
          ? Promise.reject(new BusError("no answer came", "timeout"))
          : servos.read(id, item),
      write: (id, item, value) => servos.write(id, item, value),
      reboot: (id) => servos.reboot(id),
    }, "left");
    assert.deepEqual(problems, []);
    assert.equal(isFit, true);
    assert.equal(silences, -1);
  },
);

Deno.test(
  { ...linux, name: "checkArm() looks twice at a shadow that is still on its way to its master" },
  async () => {
    await using arm = await EmulatedArm.start();
    const { servos } = arm;
    let looks = 0;
    const { isFit, problems } = await checkArm({
      port: servos.port,
      ping: (id) => servos.ping(id),
      read: async (id, item) => {
        const value = await servos.read(id, item);
        return id === 3 && item === "presentPosition" && looks++ === 0 ? value + 58 : value;
      },
      write: (id, item, value) => servos.write(id, item, value),
      reboot: (id) => servos.reboot(id),
    }, "left");
    assert.deepEqual(problems, []);
    assert.equal(isFit, true);
    assert.equal(looks, 2);
  },
);

Deno.test(
  { ...linux, name: "checkArm() says of a servo that refuses to be read what to do" },
  async () => {
    await using arm = await EmulatedArm.start();
    const { servos } = arm;
    const check = await checkArm({
      port: servos.port,
      ping: (id) => servos.ping(id),
      read: (id, item) =>
        id === 7 && item === "busWatchdog"
          ? Promise.reject(new BusError("access error", "refused"))
          : servos.read(id, item),
      write: (id, item, value) => servos.write(id, item, value),
      reboot: (id) => servos.reboot(id),
    }, "left");
    assert.deepEqual(check.problems.map(({ servoId }) => servoId), [7]);
    assert.match(
      check.problems[0].sentence,
      /^left_wrist_angle \(servo 7\) refuses to be read .*firmware .* \(access error\)$/,
    );
  },
);
