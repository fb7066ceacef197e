/**
 * Brings the servos of a checked arm into the state from which torque may be switched on: watchdogs
 * cleared, modes, gains, profiles and the gripper's current set, goals where the arm stands.
 *
 * @module
 */

import { CURRENT_UNIT_MA, TICKS_PER_TURN, VELOCITY_UNIT_RPM } from "../dynamixel/control_table.ts";
import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";
import type { ArmLimits } from "../safety/limits.ts";
import { servoLabel } from "./servo_faults.ts";
import {
  GRIPPER_ID,
  LAYOUT_RETURN_DELAY,
  LAYOUT_VELOCITY_LIMIT,
  layoutOf,
  SERVO_LAYOUT,
  type ServoLayout,
} from "./servo_layout.ts";
import { gripperCommandToRad } from "./units.ts";
import {
  correctEeprom,
  type ItemValues,
  readItem,
  readItems,
  writeVerified,
} from "./verified_write.ts";

/** Gains of every servo's position control: ROBOTIS' initial values, which ALOHA keeps. */
export const POSITION_GAINS: { readonly p: number; readonly i: number; readonly d: number } = {
  p: 800,
  i: 0,
  d: 0,
};

/** Radians that the gripper's servo turns from closed to open. */
const GRIPPER_SPAN_RAD = gripperCommandToRad(1) - gripperCommandToRad(0);

/** How to prepare. */
export interface PrepareOptions {
  /** Leave the EEPROM alone and only say what would be changed; RAM is set all the same. */
  readonly isDryRun?: boolean;
}

/**
 * Prepare all nine servos of an arm. Torque is neither switched on nor off.
 *
 * @param servos The arm's bus.
 * @param limits The arm's limits: speeds become profile velocities, the gripper's current its goal.
 * @param options How.
 * @returns Changes of EEPROM items, a sentence each; empty when all were right.
 * @throws {Error} An item of the EEPROM is wrong while torque is on, does not keep its value, or the
 * gripper's current limit is too small.
 * @throws {BusError} A servo does not answer, or refuses.
 */
export function prepareArm(
  servos: ServoAccess,
  limits: ArmLimits,
  options: PrepareOptions = {},
): Promise<string[]> {
  return prepareServos(servos, SERVO_LAYOUT.map(({ id }) => id), limits, options);
}

/**
 * Prepare some servos of an arm, such as those that were restarted. A servo obeys what is written to
 * its master, so a shadow must be among them when its master is.
 *
 * @param servos The arm's bus.
 * @param ids The servos, 1–9, in rising order: shadows after their masters.
 * @param limits The arm's limits.
 * @param options How.
 * @returns As {@link prepareArm}.
 * @throws As {@link prepareArm}.
 */
export async function prepareServos(
  servos: ServoAccess,
  ids: readonly number[],
  limits: ArmLimits,
  { isDryRun = false }: PrepareOptions = {},
): Promise<string[]> {
  const layouts = ids.map(layoutOf);
  const changes: string[] = [];
  for (const layout of layouts) {
    // An expired watchdog locks the goals (e-manual), so it comes first. Whether a servo with torque then
    // goes on to its old goal is not said: the next thing that it hears is to stay where it is.
    const hasExpired = await readItem(servos, layout.id, "busWatchdog") < 0;
    await writeVerified(servos, layout.id, [["busWatchdog", 0]]);
    if (hasExpired) await goalHere(servos, layout);
    else await holdPosition(servos, layout);
  }
  for (const layout of layouts) {
    const eeprom: ItemValues = [
      ["operatingMode", layout.operatingMode],
      ["velocityLimit", LAYOUT_VELOCITY_LIMIT],
      ["returnDelayTime", LAYOUT_RETURN_DELAY],
    ];
    changes.push(...await correctEeprom(servos, layout.id, eeprom, isDryRun));
    await prepareRam(servos, layout, limits);
  }
  return changes;
}

/** Items that every start of a servo clears. */
async function prepareRam(
  servos: ServoAccess,
  layout: ServoLayout,
  limits: ArmLimits,
): Promise<void> {
  const { id } = layout;
  await writeVerified(servos, id, [
    ["positionPGain", POSITION_GAINS.p],
    ["positionIGain", POSITION_GAINS.i],
    ["positionDGain", POSITION_GAINS.d],
    // The setpoints carry the acceleration: a profile of the servo's own would only lag behind them.
    ["profileAcceleration", 0],
    ["profileVelocity", profileVelocity(layout, limits)],
  ]);
  if (id === GRIPPER_ID) {
    const wanted = Math.floor(limits.gripper.currentMa / CURRENT_UNIT_MA);
    const allowed = await readItem(servos, id, "currentLimit");
    if (wanted > allowed) {
      throw new Error(
        `Cannot prepare ${servoLabel(null, id)} on ${servos.port}: its Current_Limit is ` +
          `${Math.floor(allowed * CURRENT_UNIT_MA)} mA, the gripper's current limit is ` +
          `${limits.gripper.currentMa} mA; lower currentMa in the safety limits`,
      );
    }
    await writeVerified(servos, id, [["goalCurrent", wanted]]);
  }
  await holdPosition(servos, layout);
}

/**
 * Profile_Velocity for a joint: its velocity limit, rounded up so that the servo never brakes what the
 * limit allows, and at most the servo's own Velocity_Limit. Never 0, which would mean no limit.
 *
 * @param layout The servo.
 * @param limits The arm's limits.
 * @returns 1…131, in 0.229 rev/min.
 */
export function profileVelocity(layout: ServoLayout, limits: ArmLimits): number {
  const { velocity } = limits[layout.joint];
  const radS = layout.joint === "gripper" ? velocity * GRIPPER_SPAN_RAD : velocity;
  const units = Math.ceil(radS * 60 / (2 * Math.PI) / VELOCITY_UNIT_RPM);
  return Math.max(1, Math.min(LAYOUT_VELOCITY_LIMIT, units));
}

/**
 * Farthest that a servo with torque may hang from its goal and still be said to hold it, in ticks: 20°,
 * as far as the motion thread takes for being on track.
 */
export const MAX_HANGING_TICKS = 228;

/**
 * Make a servo hold where it is. One that has torque keeps its goal, below which its load makes it hang a
 * little: its position for a goal would let it sink anew each time. Any other gets its position as its
 * goal, or its position limit where it hangs beyond it.
 *
 * @param servos The arm's bus.
 * @param layout The servo.
 * @returns The goal, in ticks.
 * @throws {Error} The goal reads another value after it was written.
 * @throws {BusError} The servo does not answer, or refuses.
 */
export async function holdPosition(servos: ServoAccess, layout: ServoLayout): Promise<number> {
  const items = ["torqueEnable", "goalPosition", "presentPosition"] as const;
  const [torque, goal, position] = await readItems(servos, layout.id, items);
  const isInside = goal >= layout.minTicks && goal <= layout.maxTicks;
  if (torque === 1 && isInside && Math.abs(goal - position) <= MAX_HANGING_TICKS) return goal;
  return await goalHere(servos, layout);
}

/** Make the position a servo's goal. */
async function goalHere(servos: ServoAccess, layout: ServoLayout): Promise<number> {
  const { id, minTicks, maxTicks } = layout;
  const position = await readItem(servos, id, "presentPosition");
  if (position < -TICKS_PER_TURN || position > 2 * TICKS_PER_TURN) {
    throw new Error(
      `Cannot hold ${servoLabel(null, id)} on ${servos.port}: it reports ${position} ticks, an ` +
        "arm is within one turn of 0–4095; lay the arm down and restart the servo",
    );
  }
  const goal = Math.max(minTicks, Math.min(maxTicks, position));
  await writeVerified(servos, id, [["goalPosition", goal]]);
  return goal;
}
