/**
 * Torque of an arm's servos on and off.
 *
 * On: each servo holds where it stands before and after. Off: everything is tried, whatever fails.
 *
 * @module
 */

import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";
import { MAX_OUTSIDE_TICKS, MAX_SHADOW_TICKS } from "./inspect_servo.ts";
import { holdPosition, MAX_HANGING_TICKS } from "./prepare_arm.ts";
import { servoLabel } from "./servo_faults.ts";
import { layoutOf, SERVO_LAYOUT } from "./servo_layout.ts";
import { readItem, readItems, writeVerified } from "./verified_write.ts";

/** How torque is switched on. */
export interface TorqueOptions {
  /** Nothing is switched on, nothing is written. */
  readonly isDryRun?: boolean;
  /** The servos, 1–9, in rising order; all nine unless told. */
  readonly ids?: readonly number[];
}

/** Farthest that a goal may be from the position, right after torque went on, in ticks. */
const MAX_GOAL_TICKS = Math.max(MAX_OUTSIDE_TICKS, MAX_SHADOW_TICKS);

/**
 * Switch torque on, servo by servo; each first gets its own position as its goal. Shadows follow what
 * is written to their masters and are checked like the others.
 *
 * @param servos The arm's bus.
 * @param options How.
 * @throws {Error} A servo has no torque after it, or a goal far from its position; what this call has
 * switched on is off again by then, as far as the bus allows.
 * @throws {BusError} A servo does not answer, or refuses; the same holds.
 */
export async function enableTorque(
  servos: ServoAccess,
  { isDryRun = false, ids = SERVO_LAYOUT.map(({ id }) => id) }: TorqueOptions = {},
): Promise<void> {
  if (isDryRun) return;
  const hadTorque = new Map<number, boolean>();
  await Promise.all(ids.map(async (id) => {
    hadTorque.set(id, await readItem(servos, id, "torqueEnable") === 1);
  }));
  try {
    for (const id of ids) {
      const layout = layoutOf(id);
      // A shadow's master is on by now, and the shadow with it: it keeps the goal that it has.
      if (layout.shadowOf !== null && ids.includes(layout.shadowOf)) continue;
      await holdPosition(servos, layout);
      await writeVerified(servos, id, [["torqueEnable", 1]]);
    }
    await Promise.all(ids.map((id) => {
      const farthest = hadTorque.get(id) ? MAX_HANGING_TICKS : MAX_GOAL_TICKS;
      return checkHolds(servos, id, farthest);
    }));
  } catch (error) {
    const switchedOn = ids.filter((id) => hadTorque.get(id) === false);
    // The cause is what the caller must hear of; what cannot be switched off stays in its sentence.
    const failures = await switchOff(servos, switchedOn);
    if (failures.length === 0) throw error;
    throw new Error(`${messageOf(error)}; and torque stays on: ${failures.join("; ")}`, {
      cause: error,
    });
  }
}

async function checkHolds(
  servos: ServoAccess,
  id: number,
  farthestTicks: number,
): Promise<void> {
  const cannot = `Cannot switch on ${servoLabel(null, id)} on ${servos.port}`;
  const items = ["torqueEnable", "goalPosition", "presentPosition"] as const;
  const [torque, goal, position] = await readItems(servos, id, items);
  if (torque !== 1) {
    const { shadowOf } = layoutOf(id);
    const why = shadowOf === null ? "" : `, it does not follow servo ${shadowOf}`;
    throw new Error(
      `${cannot}: its torque is still off${why}; run \`deno task robot check\``,
    );
  }
  if (Math.abs(goal - position) <= farthestTicks) return;
  throw new Error(
    `${cannot}: its goal is ${goal} and its position ${position} ticks, at most ` +
      `${farthestTicks} apart are allowed; run \`deno task robot check\``,
  );
}

/**
 * Switch torque off, on all nine servos. The arm drops: it should lie, or somebody should hold it.
 *
 * @param servos The arm's bus.
 * @throws {Error} Some servos may still have torque; the sentence names each and why.
 */
export async function disableTorque(servos: ServoAccess): Promise<void> {
  const failures = await switchOff(servos, SERVO_LAYOUT.map(({ id }) => id));
  if (failures.length === 0) return;
  throw new Error(
    `Cannot switch off all torque on ${servos.port}: ${failures.join("; ")}; hold the arm and ` +
      "switch its power off",
  );
}

/** Try all of them at once, and say which may still have torque. */
async function switchOff(servos: ServoAccess, ids: readonly number[]): Promise<string[]> {
  const results = await Promise.allSettled(
    ids.map((id) => writeVerified(servos, id, [["torqueEnable", 0]])),
  );
  return results.flatMap((result, i) =>
    result.status === "fulfilled"
      ? []
      : [`${servoLabel(null, ids[i])} failed (${messageOf(result.reason)})`]
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
