import assert from "node:assert/strict";
import { SERVO_LAYOUT } from "../arms/servo_layout.ts";
import type { AlohaRobot } from "./aloha_robot.ts";
import { openRobot, until, untilState } from "./testing.ts";

const never = new AbortController().signal;

/** Homing ends when everything before it has: torque is on, and the watchdogs are armed. */
async function home({ supervisor }: AlohaRobot): Promise<void> {
  assert.ok(supervisor.dispatch({ type: "home" }).isAccepted);
  while (supervisor.status.state === "homing") await supervisor.change(never);
  assert.equal(supervisor.status.state, "holding", supervisor.status.reason);
}

Deno.test("Supervisor names the servo that has lost its torque or stopped by its watchdog", async () => {
  await using open = await openRobot();
  const { robot, emulator, logger } = open;
  // A shadow tells nothing of itself in the cycles: only its health can.
  const { id } = SERVO_LAYOUT.find(({ name }) => name === "elbow_shadow")!;
  const says = (words: string) => () => logger.all.some((line) => line.includes(words));
  await robot.connect();
  await home(robot);

  await emulator.command(1, { kind: "set", id, item: "torqueEnable", value: 0 });
  await until(
    says(`right_elbow_shadow (servo ${id}) has lost its torque: looking at the arms anew`),
    "the servo without torque is named",
  );
  await untilState(robot, "ready");
  await home(robot);
  await emulator.command(1, { kind: "set", id, item: "busWatchdog", value: -1 });
  await until(
    says(`right_elbow_shadow (servo ${id}) has stopped by its watchdog`),
    "the servo that has stopped is named",
  );
});
