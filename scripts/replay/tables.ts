/**
 * What `deno task replay` prints of a step log.
 *
 * @module
 */

import { CONTROL_RATE_HZ, STATE_NAMES } from "../../common/robot/aloha.ts";
import type { JerkReport } from "../../controller/step_log/jerk.ts";
import type { ReplayPlan } from "../../controller/step_log/replay_plan.ts";
import type { SimulationReplay } from "../../controller/step_log/replay.ts";
import type { StepLogHeader } from "../../controller/step_log/header.ts";
import type { TrackingReport } from "./tracking.ts";
import type { StepLogSummary } from "../../controller/step_log/summary.ts";
import { CLAMP_KINDS } from "../../controller/safety/clamp_counts.ts";
import { textTable } from "../../common/cli/text_table.ts";

/** Width of the names in front of values. */
const NAME_WIDTH = 24;

/**
 * A log in a few numbers, by joint, and everything that happened.
 *
 * @param header What the log is of.
 * @param summary Its numbers.
 * @returns Lines.
 */
export function summaryText(header: StepLogHeader, summary: StepLogSummary): string {
  const { gaps, holds, refusals, incompleteTail } = summary;
  const lines: [string, string][] = [
    ["robot", `${header.robot}, limits ${header.limitsHash}`],
    ["wider than the defaults", header.widenings.join(", ") || "nothing"],
    ["task", `${header.task}: ${header.prompt}`],
    ["started", new Date(header.startMs).toISOString()],
    ["duration", `${summary.durationS.toFixed(2)} s`],
    ["cycles", `${summary.cycles} at ${summary.rateHz.toFixed(2)} Hz of ${header.rateHz} Hz`],
    ["chunks", `${summary.chunks}`],
    [
      "gaps",
      `${gaps.count}; longest time between cycles ${gaps.longestMs.toFixed(2)} ms, at ` +
      `${gaps.longestAtS.toFixed(2)} s`,
    ],
    ["oldest state used", `${summary.maxStateAgeMs.toFixed(1)} ms`],
    ["clamped cycles", `${summary.clampedCycles}`],
    ["refused cycles", `${refusals.notFinite} not finite, ${refusals.workspace} workspace`],
    ...Object.entries(holds).map(([reason, { times, cycles }]): [string, string] => [
      `held: ${reason}`,
      `${times} times, ${cycles} cycles`,
    ]),
  ];
  if (incompleteTail !== null) {
    const { bytes, offset } = incompleteTail;
    lines.push(["cut off", `${bytes} bytes from byte ${offset} on are no whole entry`]);
  }
  const kinds = CLAMP_KINDS.filter((kind) =>
    Object.values(summary.clamps).some((counts) => counts[kind] !== undefined)
  );
  const joints = textTable(
    ["joint", "max error", ...kinds],
    STATE_NAMES.map((name, i) => [
      name,
      summary.maxTrackingError[i].toFixed(4),
      ...kinds.map((kind) => `${summary.clamps[name]?.[kind] ?? 0}`),
    ]),
  );
  const events = summary.events.map(({ kind, text, timeMs }) =>
    `${((timeMs - header.startMs) / 1000).toFixed(3).padStart(10)} s  ${kind.padEnd(8)}${text}`
  );
  return [...lines.map(([name, value]) => name.padEnd(NAME_WIDTH) + value), "", joints]
    .concat(events.length > 0 ? ["", ...events] : []).join("\n");
}

/**
 * How smooth the commands are.
 *
 * @param report Of a log.
 * @returns Lines.
 */
export function jerkText(report: JerkReport): string {
  const row = (name: string, { cycles, mean, max }: JerkReport["elsewhere"]) => [
    name,
    `${cycles}`,
    mean.toFixed(2),
    max.toFixed(2),
  ];
  return [
    textTable(["jerk (rad/s³, RMS over joints)", "cycles", "mean", "max"], [
      row("within 3 steps of a boundary", report.nearBoundary),
      row("elsewhere", report.elsewhere),
    ]),
    "",
    `${report.boundaries} chunks followed another one, ${report.lateChunks} of them late`,
    `largest jump of a commanded velocity at a boundary: ` +
    `${report.maxVelocityJumpRadS.toFixed(4)} rad/s`,
    `largest jump of a wanted position at a boundary: ${report.maxTargetJumpRad.toFixed(4)} rad`,
  ].join("\n");
}

/**
 * How far the simulation was from what was measured.
 *
 * @param replay Of a log.
 * @returns Lines.
 */
export function simulationText(replay: SimulationReplay): string {
  return textTable(
    [`simulated − measured, ${replay.cycles} cycles`, "RMS", "max", "unit"],
    STATE_NAMES.map((name, i) => [
      name,
      replay.rms[i].toFixed(4),
      replay.max[i].toFixed(4),
      name.endsWith("gripper") ? "opening" : "rad",
    ]),
  );
}

/**
 * How far arms were from the motion that they made.
 *
 * @param report Of a replay on arms.
 * @returns Lines.
 */
export function trackingText(report: TrackingReport): string {
  const { steps, rms, max, clampedCycles, clamps, workspaceHolds } = report;
  const kinds = CLAMP_KINDS.filter((kind) =>
    Object.values(clamps).some((counts) => counts[kind] !== undefined)
  );
  const table = textTable(
    [`measured − log, ${steps} steps`, "RMS", "max", "unit", ...kinds],
    STATE_NAMES.map((name, i) => [
      name,
      rms[i].toFixed(4),
      max[i].toFixed(4),
      name.endsWith("gripper") ? "opening" : "rad",
      ...kinds.map((kind) => `${clamps[name]?.[kind] ?? 0}`),
    ]),
  );
  return `${table}\n\n${clampedCycles} cycles were clamped, ${workspaceHolds} of them held for the ` +
    "workspace";
}

/**
 * What arms would do to make the log's motion again.
 *
 * @param plan Of a log; its positions have been checked.
 * @param speed Share of the recorded speed.
 * @returns Lines.
 */
export function planText(plan: ReplayPlan, speed: number): string {
  const seconds = (plan.steps - 1) / CONTROL_RATE_HZ;
  return [
    `arms may make this motion: ${seconds.toFixed(2)} s at ${speed} of the recorded speed, all ` +
    `positions within their limits`,
    `${plan.removedCycles} cycles at rest left out, ${plan.joins} places joined`,
    `it starts at ${Array.from(plan.start, (x) => x.toFixed(3)).join(" ")}`,
  ].join("\n");
}
