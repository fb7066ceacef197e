import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { decode } from "fast-png";
import { resetState } from "../common/robot/aloha.ts";
import { TEST_HEADER, testRecord } from "../controller/step_log/testing.ts";
import { StepLogWriter } from "../controller/step_log/writer.ts";
import { parseReplaySettings } from "./replay/settings.ts";
import { runTool } from "./robot/testing.ts";

const SCRIPT = fileURLToPath(new URL("./replay.ts", import.meta.url));

const run = (...args: string[]) => runTool("replay.ts", args);

async function writeLog(path: string): Promise<void> {
  await using writer = await StepLogWriter.open(path, TEST_HEADER);
  writer.event("chunk", "chunk began", TEST_HEADER.startMs);
  for (let step = 0; step < 40; step++) {
    const command = resetState(1);
    command[0] = step / 200;
    writer.add(testRecord({ step, command, planId: step < 20 ? 1 : 2 }));
  }
}

Deno.test("replay.ts prints tables, or JSON, and writes pictures", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const log = join(folder, "log"), frames = join(folder, "frames");
    await writeLog(log);
    const [tables, json] = await Promise.all([
      run(log, "--summary", "--jerk", "--check", "--speed", "0.5"),
      run(log, "--json", "--jerk", "--frames", frames, "--every", "30", "--size", "24"),
    ]);
    assert.equal(tables.code, 0, tables.stderr);
    assert.match(tables.stdout, /^cycles +40 at 50\.00 Hz of 50 Hz$/m);
    assert.match(tables.stdout, /^ +0\.000 s {2}chunk {3}chunk began$/m);
    assert.match(tables.stdout, /^1 chunks followed another one, 0 of them late$/m);
    assert.match(
      tables.stdout,
      /^arms may make this motion: 1\.56 s at 0\.5 of the recorded speed,/m,
    );
    assert.doesNotMatch(tables.stdout, /simulated/);
    assert.equal(json.code, 0, json.stderr);
    const { jerk, simulation, header } = JSON.parse(json.stdout);
    assert.deepEqual(header, TEST_HEADER);
    assert.equal(jerk.boundaries, 1);
    assert.deepEqual([simulation.cycles, simulation.frames], [40, 2]);
    const picture = decode(await Deno.readFile(join(frames, "0000030_cam_high.png")));
    assert.deepEqual([picture.width, picture.height], [24, 24]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("replay.ts ends with 2 for wrong usage and 1 for a file that is no log", async () => {
  const [usage, noLog] = await Promise.all([run("--jerk"), run(SCRIPT)]);
  assert.equal(usage.code, 2);
  assert.match(usage.stderr, /^deno task replay LOG takes one path \(LOG\), but none is given\.$/m);
  assert.equal(noLog.code, 1);
  assert.match(noLog.stderr, /^Cannot read the step log .*replay\.ts: .*no.*\.$/m);
});

Deno.test("parseReplaySettings() reads flags and says what is wrong with one", () => {
  const help = parseReplaySettings(["--help"]);
  assert.ok(help.kind === "help" && /^deno task replay LOG –/.test(help.text));
  const parsed = parseReplaySettings(["--every", "3", "log", "--task", "transfer_cube"]);
  assert.ok(parsed.kind === "run");
  const { path, every, size, task, frames, robot, speed } = parsed.settings;
  assert.deepEqual(
    [path, every, size, task, frames, robot, speed],
    ["log", 3, 224, "transfer_cube", null, "simulated", 0.25],
  );
  const plain = parseReplaySettings(["log"]);
  assert.ok(plain.kind === "run" && plain.settings.task === null, "the log's own");
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [["a", "b"], /takes one path \(LOG\), but 2 are given/],
    [["a", "--every", "0"], /Invalid --every: it is 0, but it takes an integer from 1 to 100000/],
    [["a", "--size", "x"], /Invalid --size: it is "x"/],
    [["a", "--speed", "2"], /Invalid --speed: it is 2, but it takes a number from 0\.05 to 1/],
    [["a", "--robot", "arm"], /Invalid --robot: it is "arm"/],
    [["a", "--task", "juggle"], /Invalid --task: it is "juggle"/],
    [["a", "--wat"], /Unknown flag --wat/],
  ];
  for (const [args, message] of cases) {
    assert.throws(() => parseReplaySettings(args), { name: "UsageError", message });
  }
});
