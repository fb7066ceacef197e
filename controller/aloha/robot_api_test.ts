import assert from "node:assert/strict";
import { createControllerApp } from "../status.ts";
import { itemsOf, openRobot, type TestRobot, until, untilState } from "./testing.ts";
import { robotGauges } from "./robot_gauges.ts";

const TOKEN = "a-token-of-the-test-0123456789";
const COUNTS = {
  sent: 0,
  resent: 0,
  acked: 0,
  duplicates: 0,
  dropped: 0,
  queued: 0,
  reconnects: 0,
  refused: 0,
};

/** What the controller serves, for a robot without a policy. */
function appOf({ robot, logger }: TestRobot, token: string | null = null) {
  return createControllerApp({
    host: "127.0.0.1",
    token,
    logger,
    status: () => ({
      link: "connected" as const,
      counts: COUNTS,
      policyVersion: 0,
      episodes: 0,
      successes: 0,
      robot: robot.status(),
    }),
    gauges: robotGauges(robot),
    commands: robot.commands,
  });
}

type App = ReturnType<typeof appOf>;

async function post(app: App, path: string, init: RequestInit = {}) {
  const response = await app.request(path, { method: "POST", ...init });
  return { status: response.status, body: await response.json() };
}

/** Let the safety filter shorten a command, and wait until all temperatures are known. */
async function useFilter({ arms }: TestRobot["robot"]): Promise<void> {
  await until(() => arms.motion.status().command.every(Number.isFinite), "the arms are held");
  const wild = Float32Array.from(arms.motion.status().command);
  wild[0] += 1;
  arms.motion.resume();
  arms.motion.follow(wild);
  await until(() => arms.motion.clamps().byJoint.left_waist !== undefined, "it is clamped");
  const warm = () => arms.buses.right.readHealth()?.servos.filter((s) => s.temperatureC > 0) ?? [];
  await until(() => warm().length === 9, "all temperatures are known");
}

const COMMANDS = ["/estop", "/release", "/recover", "/start", "/success", "/failure", "/heartbeat"];
const FREEING = COMMANDS.filter((path) => path !== "/estop");

Deno.test("robotCommands() stop, release and start a robot over HTTP", async (t) => {
  await using open = await openRobot({ needsStart: true });
  const { robot } = open;
  const app = appOf(open);

  await t.step("nothing is freed before anything waits for it", async () => {
    for (const path of FREEING) {
      const { status, body } = await post(app, path);
      assert.deepEqual([status, body.isDone, body.state], [409, false, "disconnected"], path);
    }
    assert.match((await post(app, "/start")).body.sentence, /nothing waits for a start/);
    assert.match((await post(app, "/release")).body.sentence, /no emergency stop/);
    assert.match((await post(app, "/recover")).body.sentence, /disconnected, not faulted/);
    assert.match((await post(app, "/heartbeat")).body.sentence, /--heartbeat-timeout-ms/);
  });

  await t.step("a GET does nothing but say so", async () => {
    for (const path of COMMANDS) {
      const response = await app.request(path);
      assert.equal(response.status, 405, path);
      assert.match((await response.json()).error, /POST/);
    }
    assert.equal(robot.stop.isActive, false);
  });

  await t.step("a web page may stop the arms and nothing else", async () => {
    const headers = { origin: "http://127.0.0.1:8000" };
    for (const path of FREEING) {
      assert.equal((await post(app, path, { headers })).status, 403, path);
    }
    assert.equal((await post(app, "/estop", { headers })).status, 200);
    assert.equal(robot.stop.isActive, true);
    assert.equal((await post(app, "/release", { headers })).status, 403);
    assert.equal(robot.stop.isActive, true);
    assert.equal((await post(app, "/release")).status, 200);
  });

  await t.step("without the token nothing is heard", async () => {
    const guarded = appOf(open, TOKEN);
    for (const path of COMMANDS) assert.equal((await post(guarded, path)).status, 401, path);
    assert.equal(robot.stop.isActive, false);
    const headers = { authorization: `Bearer ${TOKEN}` };
    assert.equal((await post(guarded, "/estop", { headers })).status, 200);
    assert.equal(robot.stop.isActive, true);
    assert.equal((await post(guarded, "/release", { headers })).status, 200);
  });

  await t.step(
    "a stop keeps its first reason and is shown; a start is asked for again",
    async () => {
      await robot.connect();
      await untilState(robot, "ready");
      await useFilter(robot);
      const { status, body } = await post(app, "/estop", { body: "  smoke  " });
      assert.deepEqual([status, body.isDone, body.state], [200, true, "stopped"]);
      assert.match(body.sentence, /^Stopped: smoke; POST \/release/);
      await post(app, "/estop", { body: "x".repeat(1000) });
      const shown = (await (await app.request("/status")).json()).robot;
      assert.deepEqual([shown.state, shown.emergencyStop.source, shown.emergencyStop.requests], [
        "stopped",
        "HTTP",
        2,
      ]);
      const metrics = await (await app.request("/metrics")).text();
      assert.match(metrics, /^tendon_controller_state\{state="stopped"\} 1$/m);
      assert.match(metrics, /^tendon_controller_state\{state="ready"\} 0$/m);
      assert.match(metrics, /^tendon_controller_emergency_stop 1$/m);
      assert.match(
        metrics,
        /^tendon_controller_clamps\{joint="left_waist",kind="\w+"\} [1-9]\d*$/m,
      );
      assert.match(metrics, /^tendon_controller_bus\{arm="left",counter="missed"\} \d+$/m);
      assert.match(
        metrics,
        /^tendon_controller_servo_temperature_celsius\{arm="right",servo="9"\} 2\d$/m,
      );
      assert.match(metrics, /^tendon_controller_troubles\{kind="stops"\} [1-9]$/m);

      assert.equal((await post(app, "/release")).status, 200);
      assert.equal(robot.supervisor.needsStart, true);
      assert.equal((await post(app, "/start")).status, 409);
      const started = robot.operator.waitForStart(new AbortController().signal);
      assert.equal((await post(app, "/start")).status, 200);
      await started;
      using question = robot.operator.askVerdict();
      assert.equal((await post(app, "/failure")).status, 200);
      assert.equal((await post(app, "/success")).status, 200);
      assert.equal(question.answer, "success");
    },
  );
});

Deno.test("a stop with torque off slackens all servos, and a release brings torque back", async () => {
  await using open = await openRobot({ stopMode: "torque-off", heartbeatTimeoutMs: 60_000 });
  const { robot, emulator } = open;
  const app = appOf(open);
  await robot.connect();
  await untilState(robot, "ready");
  assert.equal((await post(app, "/heartbeat")).status, 200);
  const torque = () => itemsOf(emulator, "torqueEnable");
  await until(async () => (await torque()).every((on) => on === 1), "torque is on");
  await post(app, "/estop");
  await until(async () => (await torque()).every((on) => on === 0), "all 18 servos are slack");
  assert.equal((await torque()).length, 18);
  await assert.rejects(robot.arms.buses.left.setMode("drive"), /emergency stop/);
  await post(app, "/release");
  await untilState(robot, "ready");
  await until(async () => (await torque()).every((on) => on === 1), "torque is on again");
});

Deno.test("a heart that does not beat stops the arms", async () => {
  await using open = await openRobot({ heartbeatTimeoutMs: 200 });
  const { robot, logger } = open;
  const app = appOf(open);
  await until(() => robot.stop.isActive, "the silence is noticed");
  assert.equal(robot.stop.record?.source, "operator heartbeat");
  assert.equal(robot.heartbeat?.isLost, true);
  assert.match(logger.all.join("\n"), /EMERGENCY STOP by operator heartbeat/);
  // Without a heart that beats a release lasts no longer than until the next look.
  robot.supervisor.release("test");
  await until(() => robot.stop.isActive, "the silence is noticed again");
  assert.equal((await post(app, "/heartbeat")).status, 200);
  assert.equal(robot.heartbeat?.isLost, false);
});
