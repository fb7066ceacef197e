import assert from "node:assert/strict";
import { BusError } from "../dynamixel/bus.ts";
import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { checkArm } from "./arm_check.ts";
import { prepareArm } from "./prepare_arm.ts";
import { rebootGripper, recoverServos } from "./restart_servos.ts";
import { EmulatedArm } from "./testing.ts";
import { enableTorque } from "./torque.ts";
import { armWatchdog } from "./watchdog.ts";

const linux = { ignore: Deno.build.os !== "linux" };
const LIMITS = DEFAULT_LIMITS.arms.right;

Deno.test(
  { ...linux, name: "rebootGripper() gives the gripper back all that it had" },
  async () => {
    await using arm = await EmulatedArm.start();
    await prepareArm(arm.servos, LIMITS);
    await enableTorque(arm.servos);
    await armWatchdog(arm.servos, 120);
    const goalCurrent = await arm.get(9, "goalCurrent");
    await rebootGripper(arm.servos, LIMITS, { sleep: arm.sleep });
    assert.ok(arm.servos.writes.includes("9 reboot"));
    assert.equal(await arm.get(9, "torqueEnable"), 1);
    assert.equal(await arm.get(9, "busWatchdog"), 120);
    assert.equal(await arm.get(9, "goalCurrent"), goalCurrent);
    assert.equal(await arm.get(9, "goalPosition"), await arm.get(9, "presentPosition"));
    assert.equal(await arm.get(8, "torqueEnable"), 1, "the others are left alone");
    await rebootGripper(arm.servos, LIMITS, { sleep: arm.sleep, isDryRun: true });
    assert.equal(await arm.get(9, "torqueEnable"), 0);
  },
);

Deno.test(
  { ...linux, name: "rebootGripper() says so when the servo does not come back" },
  async () => {
    await using arm = await EmulatedArm.start();
    let nowMs = 0;
    const sleep = async (ms: number) => {
      nowMs += 10 * ms;
      await arm.command({ kind: "vanish", id: 9 });
    };
    await assert.rejects(
      rebootGripper(arm.servos, LIMITS, { sleep, nowMs: () => nowMs }),
      /Cannot restart gripper \(servo 9\) on .* not answered for 3000 ms; check its cable/,
    );
  },
);

Deno.test(
  { ...linux, name: "recoverServos() restarts a joint's servos after an overload" },
  async () => {
    await using arm = await EmulatedArm.start();
    await prepareArm(arm.servos, LIMITS);
    await enableTorque(arm.servos);
    await arm.command({ kind: "hardwareError", id: 5, bits: 0x20 });
    assert.equal((await checkArm(arm.servos, "right")).isFit, false);
    const ids = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    const options = { sleep: arm.sleep };
    assert.deepEqual(await recoverServos(arm.servos, "right", ids, LIMITS, options), [4, 5]);
    const torque = await Promise.all(ids.map((id) => arm.get(id, "torqueEnable")));
    assert.deepEqual(torque, [1, 1, 1, 0, 0, 1, 1, 1, 1]);
    assert.equal((await checkArm(arm.servos, "right")).isFit, true);
    await enableTorque(arm.servos);
    assert.equal(await arm.get(5, "torqueEnable"), 1);
    assert.deepEqual(await recoverServos(arm.servos, "right", ids, LIMITS, options), []);
  },
);

Deno.test(
  { ...linux, name: "recoverServos() leaves a servo alone that is still too hot" },
  async () => {
    await using arm = await EmulatedArm.start();
    await arm.command({ kind: "temperature", id: 2, temperatureC: 60 });
    await arm.command({ kind: "hardwareError", id: 2, bits: 0x04 });
    await assert.rejects(
      recoverServos(arm.servos, "right", [2], LIMITS, { sleep: arm.sleep }),
      /Cannot recover right_shoulder \(servo 2\): it has (60|59) °C, must be below 55 °C; let it cool/,
    );
    assert.deepEqual(arm.servos.writes, []);
    await arm.command({ kind: "temperature", id: 2, temperatureC: 40 });
    const options = { sleep: arm.sleep };
    assert.deepEqual(await recoverServos(arm.servos, "right", [2], LIMITS, options), [2, 3]);
  },
);

Deno.test({ ...linux, name: "recoverServos() says when a fault comes back at once" }, async () => {
  await using arm = await EmulatedArm.start();
  await arm.command({ kind: "surround", id: 7, change: { supplyV: 9 } });
  await arm.advance(10);
  await assert.rejects(
    recoverServos(arm.servos, "right", [7], LIMITS, { sleep: arm.sleep }),
    /after its restart, right_wrist_angle \(servo 7\): input voltage out of range; check the arm's/,
  );
});

Deno.test(
  { ...linux, name: "rebootGripper() restarts again what has not heard of it" },
  async () => {
    await using arm = await EmulatedArm.start();
    const { servos } = arm;
    let lost = 0;
    const deaf: ServoAccess = {
      port: servos.port,
      ping: (id) => servos.ping(id),
      read: (id, item) => servos.read(id, item),
      write: (id, item, value) => servos.write(id, item, value),
      reboot: (id) => {
        if (++lost > 2) return servos.reboot(id);
        return Promise.reject(new BusError(`Servo ${id} does not answer`, "timeout"));
      },
    };
    await rebootGripper(deaf, LIMITS, { sleep: arm.sleep });
    assert.deepEqual(servos.writes.filter((write) => write.endsWith("reboot")), ["9 reboot"]);
  },
);

Deno.test({
  ...linux,
  name: "recoverServos() passes on that a servo refuses, and that a bus is gone",
}, async () => {
  await using arm = await EmulatedArm.start();
  const { servos } = arm;
  const refusing: ServoAccess = {
    port: servos.port,
    ping: (id) => servos.ping(id),
    read: (id, item) => servos.read(id, item),
    write: (id, item, value) => servos.write(id, item, value),
    reboot: (id) => Promise.reject(new BusError(`Servo ${id} refuses`, "refused")),
  };
  await arm.command({ kind: "hardwareError", id: 6, bits: 0x20 });
  const options = { sleep: arm.sleep };
  await assert.rejects(
    recoverServos(refusing, "left", [6], LIMITS, options),
    (error) => error instanceof BusError && error.fault === "refused",
  );
  const unplugging = async () => {
    await arm.command({ kind: "unplug" });
  };
  await assert.rejects(
    recoverServos(servos, "left", [6], LIMITS, { sleep: unplugging }),
    (error) => error instanceof BusError && error.fault === "device",
  );
});
