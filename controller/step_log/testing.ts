/**
 * Small logs and records for tests.
 *
 * @module
 */

import { ALOHA_DIM, CONTROL_RATE_HZ, resetState } from "../../common/robot/aloha.ts";
import { HOLD_REASONS, type HoldReason, MOTION_RECORD } from "../motion/motion_memory.ts";
import { encodeCycle } from "./cycle_codec.ts";
import { encodeHeader, type StepLogHeader } from "./header.ts";
import { CYCLE } from "./layout.ts";
import { parseStepLog, type StepLog } from "./reader.ts";

/** A header for tests; the log starts at 1,700,000,000,000 ms. */
export const TEST_HEADER: StepLogHeader = {
  startMs: 1_700_000_000_000,
  rateHz: CONTROL_RATE_HZ,
  robot: "emulated",
  limitsHash: "0123456789abcdef",
  widenings: [],
  task: "reach",
  prompt: "reach the red ball",
};

/** What is not as usual in a cycle. */
export interface TestCycle {
  /** Control step; the time follows at 20 ms a step unless `timeMs` is given. */
  readonly step: number;
  /** Time since the log's start, in ms. */
  readonly timeMs?: number;
  /** Plan; 0 and a hold otherwise. Default 1. */
  readonly planId?: number;
  /** Why it holds. Default: no plan if `planId` is 0. */
  readonly hold?: HoldReason;
  /** Whether the motion begins anew with it. Default: it does not. */
  readonly isRestart?: boolean;
  /** Command `[14]`; also wanted and measured, unless they are given. Default: the reset pose. */
  readonly command?: ArrayLike<number>;
  /** What was wanted `[14]`. */
  readonly wanted?: ArrayLike<number>;
  /** What was measured `[14]`. */
  readonly measured?: ArrayLike<number>;
  /** Clamps `[14]`. Default none. */
  readonly clamps?: ArrayLike<number>;
}

/** A record of `MOTION_RECORD`. */
export function testRecord(cycle: TestCycle): Float64Array {
  const record = new Float64Array(MOTION_RECORD.length);
  const planId = cycle.planId ?? 1;
  const command = cycle.command ?? resetState(0.5);
  record[MOTION_RECORD.timeMs] = TEST_HEADER.startMs + (cycle.timeMs ?? 20 * cycle.step);
  record[MOTION_RECORD.step] = cycle.step;
  record[MOTION_RECORD.isStepEnd] = 1;
  record[MOTION_RECORD.planId] = planId;
  record[MOTION_RECORD.planIndex] = planId === 0 ? -1 : 0;
  record[MOTION_RECORD.hold] = HOLD_REASONS.indexOf(
    cycle.hold ?? (planId === 0 ? "no plan" : "none"),
  );
  record[MOTION_RECORD.isRestart] = cycle.isRestart === true ? 1 : 0;
  record.set(cycle.wanted ?? command, MOTION_RECORD.wanted);
  record.set(command, MOTION_RECORD.command);
  record.set(cycle.measured ?? command, MOTION_RECORD.measured);
  record.set(cycle.clamps ?? new Uint8Array(ALOHA_DIM), MOTION_RECORD.clamps);
  return record;
}

/**
 * A log in memory.
 *
 * @param cycles Its cycles.
 * @param header What is not as in {@link TEST_HEADER}.
 */
export function testLog(
  cycles: readonly TestCycle[],
  header: Partial<StepLogHeader> = {},
): StepLog {
  const line = encodeHeader({ ...TEST_HEADER, ...header });
  const bytes = new Uint8Array(line.length + cycles.length * CYCLE.bytes);
  bytes.set(line);
  const view = new DataView(bytes.buffer);
  let timeUs = 0;
  cycles.forEach((cycle, i) => {
    const at = line.length + i * CYCLE.bytes;
    timeUs = encodeCycle(testRecord(cycle), timeUs, TEST_HEADER.startMs, view, at);
  });
  return parseStepLog(bytes);
}
