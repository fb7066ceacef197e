import assert from "node:assert/strict";
import { ARM_NAMES, RESET_POSE_RAD, SLEEP_POSE_RAD } from "../common/robot/aloha.ts";
import { sleepPose } from "../controller/arms/poses.ts";
import { EmulatorHost } from "../controller/dynamixel/emulator/emulator_host.ts";
import { viperXServos } from "../controller/dynamixel/emulator/viperx_arm.ts";
import { SERVO_IDS } from "../controller/dynamixel/thread/bus_memory.ts";
import { TEST_HEADER, testRecord } from "../controller/step_log/testing.ts";
import { StepLogWriter } from "../controller/step_log/writer.ts";
import { runTool, type ToolEnd } from "./robot/testing.ts";

const robot = (line: string) => runTool("robot.ts", line.split(" ").filter((word) => word !== ""));
const emulated = (line: string) => robot(`${line} --robot emulated`);

/** Torque of nine servos an arm. */
const torqueOfAll = (value: number) => ({
  left: new Array(9).fill(value),
  right: new Array(9).fill(value),
});

function assertNear(actual: readonly number[], expected: readonly number[]): void {
  expected.forEach((x, i) => assert.ok(Math.abs(actual[i] - x) < 0.1, `${i}: ${actual[i]}, ${x}`));
}

/** A log of 0.8 s in which the left waist turns by 0.2 rad. */
async function writeLog(path: string): Promise<void> {
  await using writer = await StepLogWriter.open(path, TEST_HEADER);
  for (let step = 0; step < 40; step++) {
    const command = sleepPose();
    command[0] = step / 200;
    writer.add(testRecord({ step, command }));
  }
}

async function replay(...args: readonly string[]): Promise<ToolEnd> {
  const folder = await Deno.makeTempDir();
  try {
    await writeLog(`${folder}/log`);
    return await runTool("replay.ts", [`${folder}/log`, ...args]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function stopsAtSignal(): Promise<void> {
  const stopped = await runTool("robot.ts", ["home", "--robot", "emulated"], {
    after: /rad to go/,
    signal: "SIGINT",
  });
  assert.equal(stopped.code, 130, stopped.stderr);
  assert.match(stopped.stderr, /^Stopped by SIGINT\.$/m);
  assert.match(
    stopped.stdout,
    /^Stopped, last motion after \d+ ms\. The arms hold where they stand, with torque on; /m,
  );
  assert.match(stopped.stdout, /^left arm on .*: fit to be prepared$/m);
}

async function laysDownAndReplays(): Promise<void> {
  const sleep = await emulated("sleep --json");
  assert.equal(sleep.code, 0, sleep.stderr);
  const asleep = JSON.parse(sleep.stdout);
  assertNear(asleep.pose.slice(7, 13), SLEEP_POSE_RAD);
  assert.deepEqual(asleep.torque, torqueOfAll(0));
  assert.equal(asleep.state, "have no torque");
  assert.match(sleep.stderr, /lose their torque: keep clear/);

  const played = await replay("--robot", "emulated", "--speed", "0.5", "--json");
  assert.equal(played.code, 0, played.stderr);
  const { arms, simulation } = JSON.parse(played.stdout);
  assert.equal(simulation, undefined);
  assert.equal(arms.steps, 79);
  assert.ok(arms.max[0] > 0 && arms.max[0] < 0.1, `${arms.max}`);
  assert.match(played.stderr, /for 1\.6 s as the log says, at 0\.5 of its speed/);
  assert.match(played.stderr, /The arms hold where they stand, with torque on/);
}

/** One program after the other at the same arms, as a person uses them. */
async function holdsAndLetsGo(): Promise<void> {
  const pose = [...RESET_POSE_RAD, 0.5];
  pose[0] = 0.3;
  await using host = await EmulatorHost.start(
    ARM_NAMES.map(() => ({ servos: viperXServos(pose) })),
  );
  const [left, right] = host.ports;
  const robotOn = (line: string, leftPort = left) =>
    robot(`${line} --robot aloha --left-port ${leftPort} --right-port ${right}`);
  const valuesOf = (bus: number, item: "torqueEnable" | "busWatchdog") =>
    Promise.all(SERVO_IDS.map((id) => host.command(bus, { kind: "get", id, item })));

  const home = await robotOn("home --yes --json");
  assert.equal(home.code, 0, home.stderr);
  const atHome = JSON.parse(home.stdout);
  assertNear(atHome.pose.slice(0, 6), RESET_POSE_RAD);
  assertNear(atHome.pose.slice(7, 13), RESET_POSE_RAD);
  assert.deepEqual(atHome.torque, torqueOfAll(1));
  assert.match(home.stderr, /Both arms will stiffen.*keep clear/);
  assert.match(home.stderr, /The arms hold where they stand, with torque on/);
  assert.doesNotMatch(home.stderr, /No answer from|stay armed/);
  for (const bus of [0, 1]) {
    assert.deepEqual(await valuesOf(bus, "torqueEnable"), torqueOfAll(1).left);
    assert.deepEqual(await valuesOf(bus, "busWatchdog"), torqueOfAll(0).left);
  }

  const dryRun = await robotOn("home --dry-run --yes");
  assert.equal(dryRun.code, 1);
  assert.match(dryRun.stderr, /^Cannot make a dry run: left_waist \(servo 1\) has torque/m);
  const calibrate = await robotOn("calibrate --arm right --pose zero");
  assert.equal(calibrate.code, 1);
  assert.match(calibrate.stdout, /^REFUSED: right_waist \(servo 1\): its torque is on; /m);

  // One arm cannot be opened: the other one is let go all the same, and that is no success.
  const half = await robotOn("torque-off --yes", "/dev/null/left");
  assert.equal(half.code, 1);
  assert.match(half.stdout, /^The right arm will lose all torque and drop/m);
  assert.match(half.stderr, /^Torque may still be on: the left arm is missing: Cannot open .*\.$/m);
  assert.deepEqual(await valuesOf(1, "torqueEnable"), torqueOfAll(0).right);
  assert.deepEqual(await valuesOf(0, "torqueEnable"), torqueOfAll(1).left);
  const check = await robotOn("check", "/dev/null/left");
  assert.equal(check.code, 1);
  assert.match(check.stdout, /^right arm on .*: fit to be prepared$/m);
  assert.match(check.stderr, /^The arms cannot be driven: the left arm is missing: .*\.$/m);

  // A servo that is away does not keep the others of its arm from being let go.
  await host.command(0, { kind: "vanish", id: 5 });
  const off = await robotOn("torque-off --yes");
  assert.equal(off.code, 1);
  assert.match(off.stderr, /^Torque may still be on: .*elbow_shadow \(servo 5\) failed/m);
  const torque = await valuesOf(0, "torqueEnable");
  assert.deepEqual(torque.filter((_, i) => i !== 4), new Array(8).fill(0));
}

Deno.test("robot.ts homes, stops, lays down and lets go; replay.ts replays", async () => {
  // Arms take their time, and the processor idles meanwhile: each row has arms of its own.
  const rows = await Promise.allSettled([stopsAtSignal(), laysDownAndReplays(), holdsAndLetsGo()]);
  for (const row of rows) if (row.status === "rejected") throw row.reason;
});

Deno.test("replay.ts moves no real arms without a person's agreement", async () => {
  const { code, stderr } = await replay("--robot", "aloha");
  assert.equal(code, 2);
  assert.match(stderr, /^Nobody can agree .* or give --yes\.$/m);
});

Deno.test("robot.ts looks at arms, lets them go and compares their homing offsets", async () => {
  const [check, torqueOff, monitor, calibrate, zero] = await Promise.all([
    emulated("check --json"),
    emulated("torque-off --json"),
    emulated("monitor --seconds 0.1 --json"),
    emulated("calibrate --arm left --write"),
    emulated("calibrate --arm right --pose zero --json"),
  ]);
  assert.equal(check.code, 0, check.stderr);
  const { arms, missing } = JSON.parse(check.stdout);
  assert.deepEqual(missing, {});
  assert.deepEqual(arms.map((arm: { isFit: boolean }) => arm.isFit), [true, true]);
  assert.equal(arms[1].servos[8].values.modelNumber, 1020);

  assert.equal(torqueOff.code, 0, torqueOff.stderr);
  assert.deepEqual(JSON.parse(torqueOff.stdout), { off: ["left", "right"], failures: [] });
  assert.match(torqueOff.stderr, /Both arms will lose all torque and drop/);

  assert.equal(monitor.code, 0, monitor.stderr);
  const { servos } = JSON.parse(monitor.stdout.split("\n")[0]);
  assert.equal(servos.length, 18);
  assert.equal(servos[0].name, "left_waist");
  assert.equal(servos[17].hasTorque, false);

  assert.equal(calibrate.code, 0, calibrate.stderr);
  assert.match(calibrate.stdout, /^left arm on .*, pose sleep:\nservo .* verdict$/m);
  assert.match(calibrate.stdout, /^All homing offsets are right\.$/m);
  assert.equal(zero.code, 1);
  assert.match(
    zero.stderr,
    /^Cannot calibrate: right_shoulder \(servo 2\): .*; and 4 more, see above\.$/m,
  );
  assert.equal(JSON.parse(zero.stdout).arms.right.length, 8);
});

Deno.test("robot.ts calibrate writes homing offsets that make servos report the pose", async () => {
  const asleep = viperXServos();
  const wrong = asleep.map((servo, i) =>
    i === 0 ? { ...servo, shaftTicks: servo.shaftTicks! + 30 } : servo
  );
  await using host = await EmulatorHost.start([{ servos: asleep }, { servos: wrong }]);
  const [left, right] = host.ports;
  const ports = `--robot aloha --left-port ${left} --right-port ${right}`;
  const offset = () => host.command(1, { kind: "get", id: 1, item: "homingOffset" });

  const dryRun = await robot(`calibrate --write --dry-run ${ports}`);
  assert.equal(dryRun.code, 0, dryRun.stderr);
  assert.match(dryRun.stdout, /^1 homing offsets are to be corrected/m);
  assert.equal(await offset(), 0);

  const written = await robot(`calibrate --write --yes ${ports}`);
  assert.equal(written.code, 0, written.stderr);
  assert.match(written.stdout, /^The left arm: servos none were corrected\.$/m);
  assert.match(written.stdout, /^The right arm: servos 1 were corrected\.$/m);
  assert.equal(await offset(), -30);
});

Deno.test("robot.ts monitor ends well at a signal", async () => {
  const end = await runTool("robot.ts", ["monitor", "--robot", "emulated"], {
    after: /right_gripper/,
    signal: "SIGINT",
  });
  assert.equal(end.code, 0, end.stderr);
  assert.match(end.stdout, /^left_elbow_shadow +5 +- /m);
  assert.equal(end.stderr, "");
});

Deno.test("robot.ts says in one sentence what it cannot do", async () => {
  const nowhere = "--left-port /dev/null/left --right-port /dev/null/right";
  const cases: readonly (readonly [string, number, RegExp])[] = [
    ["", 2, /^Say what to do: deno task robot takes check, .* or calibrate\.$/],
    ["slep", 2, /^Unknown subcommand "slep": .*; did you mean sleep\?\.$/],
    ["home --robot emulate", 2, /^Invalid --robot: .*\.$/],
    ["monitor --seconds -1", 2, /^Invalid --seconds: .*\.$/],
    ["calibrate left", 2, /^Unexpected argument "left": .*\.$/],
    ["check --left-port /a --right-port /a", 2, /^Both arms are on \/a: .*\.$/],
    [`home ${nowhere}`, 2, /^Nobody can agree .* or give --yes\.$/],
    [`torque-off ${nowhere}`, 2, /^Nobody can agree .* or give --yes\.$/],
    [`calibrate --write ${nowhere}`, 2, /^Nobody can agree .* or give --yes\.$/],
    [`check ${nowhere}`, 1, /^No arm can be opened: .*\/dev\/null\/left.*\/dev\/null\/right.*\.$/],
    [`sleep --yes ${nowhere}`, 1, /^Cannot open \/dev\/null\/left: .*\.$/],
  ];
  const ends = await Promise.all(cases.map(([line]) => robot(line)));
  cases.forEach(([line, code, sentence], i) => {
    assert.equal(ends[i].code, code, `${line}: ${ends[i].stderr}`);
    assert.match(ends[i].stderr.trimEnd().split("\n").at(-1)!, sentence);
    assert.doesNotMatch(ends[i].stderr, /^ +at /m);
  });
});

Deno.test("robot.ts explains every subcommand", async () => {
  const names = ["check", "home", "sleep", "torque-off", "monitor", "calibrate"];
  const ends = await Promise.all(["", ...names].map((name) => robot(`${name} --help`)));
  for (const name of names) assert.match(ends[0].stdout, new RegExp(`^ {2}${name} `, "m"));
  names.forEach((name, i) => {
    assert.equal(ends[i + 1].code, 0);
    assert.match(ends[i + 1].stdout, new RegExp(`^deno task robot ${name} –`));
    assert.match(ends[i + 1].stdout, /--left-port/);
  });
});
