/**
 * `deno task soak jerk`: how smooth the commands are where one chunk follows another, in both modes.
 *
 * @module
 */

import type { OwnFlags } from "../../common/cli/command.ts";
import { EXECUTION_MODES } from "../../controller/aloha/arm_rollout.ts";
import { JerkMeter, type JerkReport } from "../../controller/step_log/jerk.ts";
import { sharedNowMs } from "../../controller/threads/clock.ts";
import { ARM_FLAGS, type SoakPart, soakPart } from "./command.ts";
import { PolicyRun, policyRunOptions } from "./policy_run.ts";
import { loadNote, type SoakReport } from "./report.ts";

/** Longest wait for the first episode, in ms. */
const FIRST_EPISODE_MS = 120_000;

const JERK_FLAGS = {
  ...ARM_FLAGS,
  minutes: {
    kind: "number",
    default: 1,
    minimum: 0.05,
    maximum: 1_440,
    unit: "minutes",
    description: "Length of each of both runs, counted from the end of the first homing.",
  },
} as const satisfies OwnFlags;

/** The part. */
export const jerk: SoakPart = soakPart(
  "jerk",
  "Measure the jerk of the commands at the boundaries of chunks: sync first, then overlap.",
  JERK_FLAGS,
  async (context) => {
    const { flags, progress } = context;
    const reports: SoakReport[] = [];
    for (const execution of EXECUTION_MODES) {
      progress.info(`${execution}: ${flags.minutes} min`);
      await using run = await PolicyRun.start(policyRunOptions(context, { execution }));
      await run.until("first episode", () => run.isRunning, FIRST_EPISODE_MS);
      // The robot's own meter has seen the homing: this one sees the policy's chunks only.
      const meter = new JerkMeter(Number(flags.rate));
      const onRecord = run.robot.onRecord;
      run.robot.onRecord = (record) => {
        onRecord(record);
        if (run.isRunning) meter.add(record);
      };
      const startMs = sharedNowMs(), chunks = run.inferenceMs.length;
      const durationMs = 60_000 * flags.minutes;
      await run.until("end", () => sharedNowMs() >= startMs + durationMs, durationMs + 60_000);
      const chunksPerS = (run.inferenceMs.length - chunks) / (durationMs / 1000);
      reports.push(
        jerkFindings(`jerk, ${execution} at ${flags.rate} Hz`, meter.report(), chunksPerS),
      );
    }
    return reports;
  },
);

/**
 * A jerk report as findings.
 *
 * @param title What was run.
 * @param report What was measured.
 * @param chunksPerS Chunks a second.
 */
export function jerkFindings(title: string, report: JerkReport, chunksPerS: number): SoakReport {
  const { boundaries, lateChunks, nearBoundary, elsewhere } = report;
  return {
    title,
    findings: [
      { name: "chunks", unit: "1/s", value: chunksPerS },
      { name: "chunks that followed another", unit: "", value: boundaries },
      { name: "of them late, the pose was held", unit: "", value: lateChunks },
      { name: "cycles near a boundary", unit: "", value: nearBoundary.cycles },
      { name: "jerk near a boundary, mean", unit: "rad/s³", value: nearBoundary.mean },
      { name: "jerk near a boundary, max", unit: "rad/s³", value: nearBoundary.max },
      { name: "cycles elsewhere", unit: "", value: elsewhere.cycles },
      { name: "jerk elsewhere, mean", unit: "rad/s³", value: elsewhere.mean },
      { name: "jerk elsewhere, max", unit: "rad/s³", value: elsewhere.max },
      {
        name: "largest velocity jump at a boundary",
        unit: "rad/s",
        value: report.maxVelocityJumpRadS,
      },
      { name: "largest target jump at a boundary", unit: "rad", value: report.maxTargetJumpRad },
    ],
    notes: ["RMS over the joints; near is within 3 control steps", loadNote()],
  };
}
