import assert from "node:assert/strict";
import { parseConfig } from "../../common/config/rules.ts";
import { PRESETS } from "../../common/config/presets.ts";
import { sharedNowMs } from "../../controller/threads/clock.ts";
import { HOLD_REASONS, MOTION_RECORD } from "../../controller/motion/motion_memory.ts";
import { LogWatch } from "./log_watch.ts";
import { PolicyRun } from "./policy_run.ts";
import { SILENT } from "./command.ts";
import { StopProbe } from "./stop_probe.ts";
import { measureSteady, TrackingError } from "./steady.ts";

function recordOf(hold: (typeof HOLD_REASONS)[number], gap: number): Float64Array {
  const record = new Float64Array(MOTION_RECORD.length);
  record[MOTION_RECORD.hold] = HOLD_REASONS.indexOf(hold);
  record[MOTION_RECORD.command + 2] = gap;
  return record;
}

Deno.test("TrackingError takes the worst joint of cycles that execute a plan, and no gripper", () => {
  const tracking = new TrackingError();
  assert.ok(Number.isNaN(tracking.percentile(0.5)));
  for (let i = 0; i < 99; i++) tracking.add(recordOf("none", 0.0102));
  tracking.add(recordOf("none", -0.3));
  tracking.add(recordOf("no plan", 0.9));
  const gripper = recordOf("none", 0.0102);
  gripper[MOTION_RECORD.command + 6] = 0.8;
  tracking.add(gripper);
  const unheard = recordOf("none", 0);
  unheard[MOTION_RECORD.measured] = NaN;
  tracking.add(unheard);
  assert.ok(Math.abs(tracking.percentile(0.5) - 0.0105) < 1e-9);
  assert.ok(Math.abs(tracking.percentile(1) - 0.3005) < 1e-9);
  assert.equal(tracking.max, 0.3);
});

Deno.test("StopProbe says what it cannot do", async () => {
  using probe = new StopProbe();
  const positions = [new Int32Array(new SharedArrayBuffer(8))];
  const url = "http://127.0.0.1:1/estop";
  await assert.rejects(
    probe.probe({ action: { kind: "post", url }, beforeMs: 0, afterMs: 0, positions }),
    /^Error: Cannot probe: /,
  );
});

Deno.test("a steady run counts cycles and chunks, and an emergency stop and a start over HTTP work", async () => {
  const watch = new LogWatch(SILENT, sharedNowMs);
  const abort = new AbortController();
  await using run = await PolicyRun.start({
    config: parseConfig({ ...PRESETS.demo, maxEpisodeSteps: 500 }),
    flags: { execution: "overlap", dxlDriver: "builtin" },
    logger: watch,
    signal: abort.signal,
  });
  // An episode may end by success in half a second and its homing takes two: several of both fit.
  const seconds = 8;
  const durationMs = seconds * 1000;
  const report = await measureSteady(run, { rateHz: 50, durationMs, onProgress() {} });
  const value = (name: string) => report.findings.find((finding) => finding.name === name)!.value;
  // Load may make cycles late, not more of them than there is time for.
  assert.ok(value("bus cycles") > 0 && value("bus cycles") <= 2 * 50 * seconds * 1.5);
  assert.ok(value("motion cycles") > 0);
  assert.ok(value("chunks") > 0);
  assert.ok(value("inference p50") > 0);
  assert.ok(value("cycles on time") > 0 && value("cycles on time") <= 100);
  assert.ok(value("tracking error max") < 0.6, "farther away the arms would have stopped");

  using probe = new StopProbe();
  const { actedMs, samples } = await probe.probe({
    action: { kind: "post", url: `${run.url}/estop` },
    beforeMs: 20,
    afterMs: 100,
    positions: run.robot.arms.emulator!.positions,
  });
  assert.equal(run.robot.supervisor.status.state, "stopped");
  assert.equal(samples.ticks.length, 18 * samples.timesMs.length);
  assert.ok(samples.timesMs[0] < actedMs && samples.timesMs.at(-1)! > actedMs);
  assert.ok(watch.firstTrouble(0, (line) => line.startsWith("EMERGENCY STOP by HTTP")));
  assert.ok((await run.post("/release")).isDone);
  await run.until("question", () => run.robot.operator.isStartAwaited, 60_000);
  assert.ok(!(await run.post("/release")).isDone);
});
