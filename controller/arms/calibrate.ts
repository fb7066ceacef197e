/**
 * Homing offsets: makes the servos report what is true when a person has put the arm in a known pose.
 *
 * Present_Position is the encoder's position and Homing_Offset added up (ROBOTIS e-manual), so a joint
 * that reports too little gets a greater offset. Shadows are corrected like their masters.
 *
 * @module
 */

import { JOINTS_PER_ARM } from "../../common/robot/aloha.ts";
import { textTable } from "../../common/cli/text_table.ts";
import { TICKS_PER_TURN } from "../dynamixel/control_table.ts";
import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";
import type { ArmCheck } from "./arm_check.ts";
import { MOVING_NAMES } from "../safety/limits.ts";
import { servoLabel } from "./servo_faults.ts";
import { MAX_HOMING_OFFSET, type ServoLayout } from "./servo_layout.ts";
import { gripperCommandToRad, radToTicks } from "./units.ts";
import { readItem, writeVerified } from "./verified_write.ts";

/** Largest correction in one go, in ticks: 17.6°. More means another pose than the person was told. */
export const MAX_CORRECTION_TICKS = 200;

/** How near a servo must report to the pose once its offset is written, in ticks. */
export const CALIBRATED_TICKS = 2;

/** What calibration would do to one servo. */
export interface HomingProposal {
  /** The servo. */
  readonly layout: ServoLayout;
  /** Where it is in the known pose, in ticks. */
  readonly expectedTicks: number;
  /** Where it says that it is, in ticks. */
  readonly measuredTicks: number;
  /** Its Homing_Offset, in ticks. */
  readonly presentOffset: number;
  /** The Homing_Offset that makes it right, in ticks. */
  readonly proposedOffset: number;
  /** Why it must not be written, in a sentence; null when it may be. */
  readonly refusal: string | null;
}

/**
 * Compare an arm in a known pose with what its servos report.
 *
 * @param check A fresh check of the arm, which lies in the pose with its torque off.
 * @param pose Six joint angles in rad; and the gripper's command 0–1, where it is known too.
 * @returns A proposal for every servo that the pose is about, in the order of their IDs.
 * @throws {RangeError} The pose has not six or seven finite numbers.
 * @throws {Error} A servo did not answer the check.
 */
export function proposeHomingOffsets(
  check: ArmCheck,
  pose: ArrayLike<number>,
): HomingProposal[] {
  const angles = Array.from(pose);
  const isPose = angles.length === JOINTS_PER_ARM || angles.length === JOINTS_PER_ARM + 1;
  if (!isPose || !angles.every(Number.isFinite)) {
    throw new RangeError(
      `Cannot calibrate with the pose [${
        angles.join(", ")
      }]: expected six angles in rad, and the ` +
        "gripper's command 0–1 where it is known",
    );
  }
  return check.rows.flatMap(({ layout, values }) => {
    const at = MOVING_NAMES.indexOf(layout.joint);
    if (at >= angles.length) return [];
    const label = servoLabel(check.arm, layout.id);
    if (values === null) {
      throw new Error(`Cannot calibrate ${label}: it does not answer; run the check again`);
    }
    const rad = at < JOINTS_PER_ARM ? angles[at] : gripperCommandToRad(angles[at]);
    const expectedTicks = radToTicks(rad);
    const { presentPosition: measuredTicks, homingOffset: presentOffset } = values;
    const proposedOffset = presentOffset + expectedTicks - measuredTicks;
    const refusal = refuse(label, expectedTicks, measuredTicks, proposedOffset) ??
      (values.torqueEnable === 1
        ? `${label}: its torque is on; lay the arm down and run \`deno task robot torque-off\``
        : null);
    const row = { layout, expectedTicks, measuredTicks, presentOffset, proposedOffset, refusal };
    return [row];
  });
}

function refuse(
  label: string,
  expected: number,
  measured: number,
  offset: number,
): string | null {
  const change = expected - measured;
  if (Math.abs(change) > MAX_CORRECTION_TICKS) {
    const isTurned = Math.abs(Math.abs(change) - TICKS_PER_TURN / 2) <= MAX_CORRECTION_TICKS;
    const hint = isTurned ? "; it is half a turn off: its horn may be mounted the other way" : "";
    return `${label}: it stands at ${measured} ticks, the pose has ${expected}; at most ` +
      `${MAX_CORRECTION_TICKS} ticks are corrected: put the joint as the pose says${hint}`;
  }
  if (Math.abs(offset) > MAX_HOMING_OFFSET) {
    return `${label}: its offset would be ${offset} ticks, the servo heeds ±${MAX_HOMING_OFFSET}; ` +
      "mount its horn anew";
  }
  return null;
}

/**
 * The proposals for people.
 *
 * @param proposals From {@link proposeHomingOffsets}.
 * @returns Lines for a terminal.
 */
export function homingTable(proposals: readonly HomingProposal[]): string {
  const header = ["servo", "ID", "pose", "reported", "offset now", "offset new", "verdict"];
  const rows = proposals.map((row) => {
    const { layout, expectedTicks, measuredTicks, presentOffset, proposedOffset } = row;
    const verdict = row.refusal !== null
      ? "REFUSED"
      : proposedOffset === presentOffset
      ? "right"
      : "correct";
    const numbers = [layout.id, expectedTicks, measuredTicks, presentOffset, proposedOffset];
    return [layout.name, ...numbers.map(String), verdict];
  });
  const refusals = proposals.flatMap(({ refusal }) => refusal === null ? [] : [refusal]);
  return [textTable(header, rows), ...refusals.map((line) => `REFUSED: ${line}`)].join("\n");
}

/**
 * Write homing offsets, all or none as far as the bus allows: each is read back in what the servo
 * reports, and a servo that does not report the pose then gets its old offset again, as do those
 * before it.
 *
 * @param servos The arm's bus.
 * @param proposals From {@link proposeHomingOffsets}, none refused; the arm has not moved since.
 * @returns The servos that were changed.
 * @throws {Error} A proposal is refused (nothing is written then), a servo reports another position
 * than it should, or an offset could not be put back; the sentence says which.
 * @throws {BusError} A servo does not answer, or refuses, as it does while its torque is on.
 */
export async function writeHomingOffsets(
  servos: ServoAccess,
  proposals: readonly HomingProposal[],
): Promise<number[]> {
  const refused = proposals.flatMap(({ refusal }) => refusal === null ? [] : [refusal]);
  if (refused.length > 0) throw new Error(`Cannot write homing offsets: ${refused.join("; ")}`);
  const wrong = proposals.filter((row) => row.proposedOffset !== row.presentOffset);
  const begun: HomingProposal[] = [];
  try {
    for (const row of wrong) {
      begun.push(row);
      await correct(servos, row);
    }
  } catch (error) {
    const lost = await putBack(servos, begun);
    const why = error instanceof Error ? error.message : String(error);
    const outcome = lost.length === 0
      ? "the old offsets are back"
      : `the old offset could not be put back: ${lost.join("; ")}`;
    throw new Error(`${why}; ${outcome}`, { cause: error });
  }
  return wrong.map(({ layout }) => layout.id);
}

async function correct(servos: ServoAccess, row: HomingProposal): Promise<void> {
  const { layout: { id }, proposedOffset, expectedTicks } = row;
  await writeVerified(servos, id, [["homingOffset", proposedOffset]]);
  const reported = await readItem(servos, id, "presentPosition");
  if (Math.abs(reported - expectedTicks) <= CALIBRATED_TICKS) return;
  throw new Error(
    `Cannot calibrate ${servoLabel(null, id)} on ${servos.port}: with the offset ` +
      `${proposedOffset} it reports ${reported} ticks, expected ${expectedTicks} ± ` +
      `${CALIBRATED_TICKS}; keep the arm still and begin again`,
  );
}

/** Put the old offsets back, and say where that failed. */
async function putBack(
  servos: ServoAccess,
  rows: readonly HomingProposal[],
): Promise<string[]> {
  const lost: string[] = [];
  for (const { layout: { id }, presentOffset } of rows) {
    try {
      await writeVerified(servos, id, [["homingOffset", presentOffset]]);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      lost.push(`${servoLabel(null, id)} had ${presentOffset} (${why})`);
    }
  }
  return lost;
}
