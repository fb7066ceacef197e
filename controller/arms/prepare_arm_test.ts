import assert from "node:assert/strict";
import { BusError } from "../dynamixel/bus.ts";
import { NO_FAULTS } from "../dynamixel/emulator/faults.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { checkArm } from "./arm_check.ts";
import { homePose, planPose, sleepPose } from "./poses.ts";
import { prepareArm, profileVelocity } from "./prepare_arm.ts";
import { GOAL_SERVOS, layoutOf } from "./servo_layout.ts";
import { armWith, EmulatedArm } from "./testing.ts";
import { disableTorque, enableTorque } from "./torque.ts";
import { commandToTicks, ticksToCommand } from "./units.ts";
import { armWatchdog, disarmWatchdog } from "./watchdog.ts";

const linux = { ignore: Deno.build.os !== "linux" };
const LIMITS = DEFAULT_LIMITS.arms.left;
const IDS = [1, 2, 3, 4, 5, 6, 7, 8, 9];

Deno.test(
  { ...linux, name: "prepareArm() sets every servo's RAM, and no EEPROM that is right" },
  async () => {
    await using arm = await EmulatedArm.start();
    await arm.set(6, "positionPGain", 100);
    assert.deepEqual(await prepareArm(arm.servos, LIMITS), []);
    for (const id of IDS) {
      assert.equal(await arm.get(id, "positionPGain"), 800);
      assert.equal(await arm.get(id, "positionIGain"), 0);
      assert.equal(await arm.get(id, "profileAcceleration"), 0);
      assert.equal(await arm.get(id, "profileVelocity"), profileVelocity(layoutOf(id), LIMITS));
      assert.equal(await arm.get(id, "goalPosition"), await arm.get(id, "presentPosition"));
      assert.equal(await arm.get(id, "torqueEnable"), 0);
    }
    assert.equal(await arm.get(9, "goalCurrent"), Math.floor(800 / 2.69));
    const eeprom = /operatingMode|velocityLimit|returnDelay|homing|Limit|driveMode/;
    assert.deepEqual(arm.servos.writes.filter((write) => eeprom.test(write)), []);
  },
);

Deno.test(
  {
    ...linux,
    name: "prepareArm() and enableTorque() leave the goals of a servo that holds by torque",
  },
  async () => {
    await using arm = await EmulatedArm.start();
    await prepareArm(arm.servos, LIMITS);
    await enableTorque(arm.servos);
    // It hangs 40 ticks below its goal, and its gripper is 300 ticks away from it.
    const goals = new Map<number, number>();
    for (const id of [1, 4]) {
      goals.set(id, await arm.get(id, "presentPosition") - 40);
      await arm.set(id, "goalPosition", goals.get(id)!);
    }
    await arm.set(9, "goalPosition", await arm.get(9, "presentPosition") + 300);
    await prepareArm(arm.servos, LIMITS);
    for (const [id, goal] of goals) assert.equal(await arm.get(id, "goalPosition"), goal);
    const gap = await arm.get(9, "goalPosition") - await arm.get(9, "presentPosition");
    assert.ok(Math.abs(gap) <= 30, `${gap}`);
    await enableTorque(arm.servos);
    for (const [id, goal] of goals) assert.equal(await arm.get(id, "goalPosition"), goal);
  },
);

Deno.test("profileVelocity() is the joint's limit rounded up, never 0, never beyond the servo's", () => {
  assert.equal(profileVelocity(layoutOf(1), LIMITS), 79); // 60 % of 131
  assert.equal(profileVelocity(layoutOf(3), LIMITS), 79);
  assert.equal(profileVelocity(layoutOf(9), LIMITS), 124); // 1.4 openings/s of 2.11 rad
  for (const [velocity, expected] of [[1e-3, 1], [100, 131]]) {
    const limits = { ...LIMITS, waist: { ...LIMITS.waist, velocity } };
    assert.equal(profileVelocity(layoutOf(1), limits), expected);
  }
});

Deno.test(
  { ...linux, name: "prepareArm() corrects modes while torque is off, and says so" },
  async () => {
    await using arm = await EmulatedArm.start(armWith(9, { operatingMode: 3, velocityLimit: 200 }));
    const wouldBe = await prepareArm(arm.servos, LIMITS, { isDryRun: true });
    assert.match(wouldBe[0], /^would set operatingMode of gripper \(servo 9\) on .* from 3 to 5$/);
    assert.equal(await arm.get(9, "operatingMode"), 3);
    const changes = await prepareArm(arm.servos, LIMITS);
    assert.match(changes[0], /^set operatingMode of gripper \(servo 9\) on .* from 3 to 5$/);
    assert.match(changes[1], /^set velocityLimit of gripper .* from 200 to 131$/);
    assert.equal((await checkArm(arm.servos, "left")).problems.length, 0);
  },
);

Deno.test(
  { ...linux, name: "prepareArm() refuses to change a mode while torque is on" },
  async () => {
    await using arm = await EmulatedArm.start(armWith(4, { operatingMode: 4 }));
    await arm.servos.write(4, "torqueEnable", 1);
    await assert.rejects(
      prepareArm(arm.servos, LIMITS),
      /Cannot set operatingMode of elbow \(servo 4\).*is 4, must be 3.*torque is on; .*torque-off/,
    );
    assert.equal(await arm.get(4, "operatingMode"), 4);
  },
);

Deno.test(
  { ...linux, name: "prepareArm() refuses a gripper that may not have its current" },
  async () => {
    await using arm = await EmulatedArm.start(armWith(9, { currentLimit: 100 }));
    await assert.rejects(
      prepareArm(arm.servos, LIMITS),
      /Current_Limit is 269 mA, .* 800 mA; lower/,
    );
  },
);

Deno.test(
  { ...linux, name: "prepareArm() clears the watchdogs that a dead controller left" },
  async () => {
    await using arm = await EmulatedArm.start();
    await prepareArm(arm.servos, LIMITS);
    await enableTorque(arm.servos);
    await arm.servos.write(1, "goalPosition", 4000);
    await armWatchdog(arm.servos);
    await arm.advance(200); // nobody speaks
    for (const id of IDS) assert.equal(await arm.get(id, "busWatchdog"), -1, `servo ${id}`);
    await assert.rejects(arm.servos.write(1, "goalPosition", 2048), BusError);

    assert.equal((await checkArm(arm.servos, "left")).isFit, true);
    await prepareArm(arm.servos, LIMITS);
    const stopped = await arm.get(1, "presentPosition");
    for (const id of IDS) {
      assert.equal(await arm.get(id, "busWatchdog"), 0);
      assert.equal(await arm.get(id, "torqueEnable"), 1, "an arm that holds itself does not drop");
    }
    assert.equal(await arm.get(1, "goalPosition"), stopped, "it stays where it stopped");
    assert.ok(stopped < 3900, `${stopped}`);
  },
);

Deno.test(
  { ...linux, name: "armWatchdog() and disarmWatchdog() reach all nine, expired ones too" },
  async () => {
    await using arm = await EmulatedArm.start();
    await arm.set(5, "busWatchdog", -1);
    await arm.set(4, "busWatchdog", -1);
    await armWatchdog(arm.servos, 50);
    for (const id of IDS) assert.equal(await arm.get(id, "busWatchdog"), 50);
    await disarmWatchdog(arm.servos);
    for (const id of IDS) assert.equal(await arm.get(id, "busWatchdog"), 0);
    for (const units of [0, 128, 1.5]) {
      await assert.rejects(armWatchdog(arm.servos, units), /expected 1–127 of 20 ms/);
    }
  },
);

Deno.test({ ...linux, name: "armWatchdog() gives up when the bus cannot keep up" }, async () => {
  await using arm = await EmulatedArm.start();
  await prepareArm(arm.servos, LIMITS);
  await enableTorque(arm.servos);
  const { servos } = arm;
  const slow = {
    port: servos.port,
    ping: (id: number) => servos.ping(id),
    read: async (...args: Parameters<typeof servos.read>) => {
      // Silence in the midst of every reading of all, too long for a watchdog of 20 ms.
      if (args[0] === 4) await arm.advance(25);
      return await servos.read(...args);
    },
    write: (...args: Parameters<typeof servos.write>) => servos.write(...args),
    reboot: (id: number) => servos.reboot(id),
  };
  await assert.rejects(armWatchdog(slow, 1), /watchdogs on .* to 1: .* reads -1.*expired/);
});

Deno.test({ ...linux, name: "enableTorque() holds every servo where it stands" }, async () => {
  await using arm = await EmulatedArm.start();
  await prepareArm(arm.servos, LIMITS);
  const before = await Promise.all(IDS.map((id) => arm.get(id, "presentPosition")));
  await arm.set(1, "goalPosition", 0); // a goal from who knows when
  await enableTorque(arm.servos);
  await arm.advance(1000);
  for (const [i, id] of IDS.entries()) {
    assert.equal(await arm.get(id, "torqueEnable"), 1);
    assert.equal(await arm.get(id, "presentPosition"), before[i]);
  }
  const goal = GOAL_SERVOS[1];
  await arm.servos.write(goal.id, "goalPosition", 1422);
  await arm.advance(3000);
  assert.equal(await arm.get(2, "presentPosition"), 1422);
  assert.equal(await arm.get(3, "presentPosition"), 1422, "the shadow goes with its master");
});

Deno.test({ ...linux, name: "enableTorque() switches nothing on in a dry run" }, async () => {
  await using arm = await EmulatedArm.start();
  await enableTorque(arm.servos, { isDryRun: true });
  assert.deepEqual(arm.servos.writes, []);
});

Deno.test(
  { ...linux, name: "enableTorque() takes back what it did when a servo does not follow" },
  async () => {
    await using arm = await EmulatedArm.start(armWith(5, { secondaryId: 255 }));
    await arm.servos.write(1, "torqueEnable", 1);
    await assert.rejects(
      enableTorque(arm.servos),
      /switch on elbow_shadow \(servo 5\).* still off, it does not follow servo 4; run/,
    );
    const torque = await Promise.all(IDS.map((id) => arm.get(id, "torqueEnable")));
    assert.deepEqual(torque, [1, 0, 0, 0, 0, 0, 0, 0, 0], "the waist had its torque before");
  },
);

Deno.test({
  ...linux,
  name: "disableTorque() goes on past servos that do not answer, and names them",
}, async () => {
  await using arm = await EmulatedArm.start();
  await prepareArm(arm.servos, LIMITS);
  await enableTorque(arm.servos);
  await arm.command({ kind: "vanish", id: 2 });
  await arm.command({ kind: "vanish", id: 6 });
  await assert.rejects(
    disableTorque(arm.servos),
    /switch off all torque on .*: shoulder \(servo 2\) failed .*; forearm_roll \(servo 6\) failed/,
  );
  const torque = await Promise.all(IDS.map((id) => arm.get(id, "torqueEnable")));
  assert.deepEqual(torque, [0, 1, 0, 0, 0, 1, 0, 0, 0]);
});

Deno.test({
  ...linux,
  name: "an arm goes from its rest to home, checked, prepared and by our numbers",
}, async () => {
  await using arm = await EmulatedArm.start();
  assert.equal((await checkArm(arm.servos, "right")).isFit, true);
  await prepareArm(arm.servos, LIMITS);
  await enableTorque(arm.servos);
  const ticks = new Float64Array(GOAL_SERVOS.length), commands = Float64Array.from(homePose());
  const measure = async () => {
    for (const [i, { id }] of GOAL_SERVOS.entries()) {
      ticks[i] = await arm.servos.read(id, "presentPosition");
    }
    ticksToCommand(ticks, "right", commands);
  };
  await measure();
  sleepPose().slice(7).forEach((rest, i) => assert.ok(Math.abs(commands[7 + i] - rest) < 1e-3));

  const { targets, steps, isComplete, isClear } = planPose(commands, homePose());
  assert.ok(isComplete && isClear);
  for (let step = 9; step < steps + 9; step += 10) {
    const at = Math.min(step, steps - 1) * 14;
    commandToTicks(targets.subarray(at, at + 14), "right", ticks);
    for (const [i, { id }] of GOAL_SERVOS.entries()) {
      await arm.servos.write(id, "goalPosition", ticks[i]);
    }
    await arm.advance(200);
  }
  await measure();
  homePose().slice(7).forEach((home, i) => assert.ok(Math.abs(commands[7 + i] - home) < 1e-3));
  assert.deepEqual((await checkArm(arm.servos, "right")).problems, [], "the shadows went along");
});

Deno.test({
  ...linux,
  name: "an arm is checked, prepared and switched over a bus that loses packets",
}, async () => {
  await using arm = await EmulatedArm.start();
  const rates = { ...NO_FAULTS, drop: 0.01, corrupt: 0.01 };
  await arm.command({ kind: "faults", rates });
  assert.deepEqual((await checkArm(arm.servos, "right")).problems, []);
  await prepareArm(arm.servos, LIMITS);
  await enableTorque(arm.servos);
  await disarmWatchdog(arm.servos);
  await disableTorque(arm.servos);
  for (const id of IDS) {
    assert.equal(await arm.get(id, "torqueEnable"), 0);
    assert.equal(await arm.get(id, "profileVelocity"), profileVelocity(layoutOf(id), LIMITS));
  }
});
