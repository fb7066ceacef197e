/**
 * Whether the values that were read of one servo are what its layout wants.
 *
 * @module
 */

import { HARDWARE_ERROR } from "../dynamixel/protocol/status_error.ts";
import type { ServoValues } from "./arm_check.ts";
import { describeFault } from "./servo_faults.ts";
import {
  GRIPPER_ID,
  LAYOUT_RETURN_DELAY,
  LAYOUT_VELOCITY_LIMIT,
  MAX_HOMING_OFFSET,
  NO_SECONDARY_ID,
  type ServoLayout,
} from "./servo_layout.ts";

/** Something wrong with a servo. */
export interface Finding {
  /** `refuse`: the arm must not move; `warn`: preparing it puts that right, or a person should look. */
  readonly severity: "refuse" | "warn";
  /** One sentence: arm, joint, servo, value, bound, and what to do. */
  readonly sentence: string;
}

/** From here on a person should look, in °C. The servo's own limit is 80 °C from the factory. */
export const WARM_C = 55;

/** From here on an arm must not start, in °C: far enough below the servo's limit to do some work. */
export const HOT_C = 65;

/** Supply that a ViperX 300 should have, in V: 12 V recommended (ROBOTIS e-manual), with some drop. */
export const GOOD_VOLTAGE: { readonly min: number; readonly max: number } = { min: 11.1, max: 13 };

/**
 * Farthest that two servos of one joint may report from each other, in ticks: 2.6°. They are bolted to
 * one shaft, so a greater distance is a wrong homing offset or drive mode, and they would fight.
 */
export const MAX_SHADOW_TICKS = 30;

/** How far beyond its position limits an arm at rest may hang, in ticks. */
export const MAX_OUTSIDE_TICKS = 30;

/** First firmware of the X series with Bus_Watchdog (ROBOTIS e-manual). */
const WATCHDOG_FIRMWARE = 38;

/** What a servo must shut down by itself for: overheating, electrical shock, overload. */
const NEEDED_SHUTDOWN = HARDWARE_ERROR.overheating | HARDWARE_ERROR.electricalShock |
  HARDWARE_ERROR.overload;

const WIZARD = "DYNAMIXEL Wizard";
const LAY_DOWN = "lay the arm down and run `deno task robot torque-off`";

/**
 * Compare a servo with its layout.
 *
 * @param layout What it must be.
 * @param values What it is.
 * @param label How people call it, such as "left_elbow (servo 4)".
 * @returns What is wrong; empty when all is well.
 */
export function inspectServo(layout: ServoLayout, values: ServoValues, label: string): Finding[] {
  const findings: Finding[] = [];
  const add = (severity: Finding["severity"], text: string) =>
    findings.push({ severity, sentence: `${label}: ${text}` });
  const hasTorque = values.torqueEnable === 1;

  /** What `prepareArm` sets, as long as the servo's EEPROM is not locked by its torque. */
  const prepared = (item: string, value: number, wanted: number) => {
    if (value === wanted) return;
    const wrong = `${item} is ${value}, must be ${wanted}`;
    if (hasTorque) add("refuse", `${wrong}, and its torque is on; ${LAY_DOWN}`);
    else add("warn", `${wrong}; preparing the arm sets it`);
  };
  /** What only a person sets. */
  const fixed = (item: string, value: number, wanted: number) => {
    if (value === wanted) return;
    add("refuse", `${item} is ${value}, must be ${wanted}; set it with ${WIZARD}`);
  };

  const { model } = layout;
  if (values.modelNumber !== model.number) {
    add(
      "refuse",
      `its model is ${values.modelNumber}, must be ${model.number} (${model.name}); ` +
        `look whether servos were exchanged or have each other's IDs`,
    );
    return findings; // another model's values mean something else
  }
  if (values.firmwareVersion < WATCHDOG_FIRMWARE) {
    add(
      "refuse",
      `its firmware is ${values.firmwareVersion}, the Bus_Watchdog needs ${WATCHDOG_FIRMWARE}; ` +
        `update it with ${WIZARD}`,
    );
  }
  fixed("Drive_Mode", values.driveMode, layout.driveMode);
  inspectSecondaryId(layout, values, add);
  prepared("Operating_Mode", values.operatingMode, layout.operatingMode);
  prepared("Velocity_Limit", values.velocityLimit, LAYOUT_VELOCITY_LIMIT);
  prepared("Return_Delay_Time", values.returnDelayTime, LAYOUT_RETURN_DELAY);
  fixed("Min_Position_Limit", values.minPositionLimit, layout.minTicks);
  fixed("Max_Position_Limit", values.maxPositionLimit, layout.maxTicks);
  if (Math.abs(values.homingOffset) > MAX_HOMING_OFFSET) {
    add(
      "refuse",
      `Homing_Offset is ${values.homingOffset}, the servo heeds ±${MAX_HOMING_OFFSET}; ` +
        `run \`deno task robot calibrate\``,
    );
  } else if (values.homingOffset !== 0) {
    // Reported for extended position mode and an older firmware: ROBOTIS-GIT/DynamixelSDK, issue 584.
    add(
      "warn",
      `Homing_Offset is ${values.homingOffset}, must be 0 to rule out that an old firmware moves the ` +
        `servo when its Bus_Watchdog expires; update firmware ${values.firmwareVersion} with ` +
        `${WIZARD}, then stop a controller by \`kill -9\` while somebody holds the arm`,
    );
  }
  if ((values.shutdown & NEEDED_SHUTDOWN) !== NEEDED_SHUTDOWN) {
    add(
      "warn",
      `Shutdown is ${values.shutdown}, which leaves out overheating, electrical shock or ` +
        `overload; set it to ${NEEDED_SHUTDOWN} with ${WIZARD}`,
    );
  }
  inspectState(layout, values, add);
  return findings;
}

type Add = (severity: Finding["severity"], text: string) => void;

function inspectSecondaryId(layout: ServoLayout, { secondaryId }: ServoValues, add: Add): void {
  const { shadowOf } = layout;
  if (shadowOf === null ? secondaryId > 252 : secondaryId === shadowOf) return;
  const wanted = shadowOf ?? NO_SECONDARY_ID;
  add("refuse", `Secondary_ID is ${secondaryId}, must be ${wanted}; set it with ${WIZARD}`);
}

/** What changes from hour to hour: errors, watchdog, supply, warmth, pose. */
function inspectState(layout: ServoLayout, values: ServoValues, add: Add): void {
  if (values.hardwareErrorStatus !== 0) {
    add("refuse", describeFault(values.hardwareErrorStatus));
  }
  if (values.busWatchdog === -1) {
    add(
      "warn",
      "its Bus_Watchdog has expired (−1): the last controller went without a word; " +
        "preparing the arm clears it",
    );
  } else if (values.busWatchdog !== 0) {
    add(
      "warn",
      `its Bus_Watchdog is armed (${values.busWatchdog}); make sure that no other ` +
        "program drives the arm",
    );
  }
  const volts = values.presentInputVoltage / 10;
  const [lowest, highest] = [values.minVoltageLimit / 10, values.maxVoltageLimit / 10];
  const { min, max } = GOOD_VOLTAGE;
  if (volts < lowest || volts > highest) {
    add(
      "refuse",
      `its supply is ${volts} V, the servo allows ${lowest}–${highest} V; ` +
        "check the arm's power supply",
    );
  } else if (volts < min || volts > max) {
    add("warn", `its supply is ${volts} V, expected ${min}–${max} V; check the arm's power supply`);
  }
  const hot = Math.min(HOT_C, values.temperatureLimit);
  const temperatureC = values.presentTemperature;
  if (temperatureC >= hot) {
    add(
      "refuse",
      `it has ${temperatureC} °C, must be below ${hot} °C; lay the arm down, run ` +
        "`deno task robot torque-off` and let it cool",
    );
  } else if (temperatureC >= WARM_C) {
    add("warn", `it has ${temperatureC} °C, expected below ${WARM_C} °C; give it a rest soon`);
  }
  const { presentPosition: ticks } = values;
  const outside = Math.max(layout.minTicks - ticks, ticks - layout.maxTicks);
  if (outside <= 0) return;
  const range = `${layout.minTicks}–${layout.maxTicks}`;
  const isFar = outside > MAX_OUTSIDE_TICKS || layout.id === GRIPPER_ID;
  const remedy = layout.id === GRIPPER_ID
    ? "close the gripper by hand and restart its servo"
    : isFar
    ? `${LAY_DOWN}, then bring the joint into its range by hand`
    : "it goes to the limit when torque is switched on";
  add(isFar ? "refuse" : "warn", `it stands at ${ticks} ticks, its range is ${range}; ${remedy}`);
}

/**
 * Compare a shadow with its master. Both report the joint's position in the same sense: the drive mode
 * takes back that one of them is mounted the other way round.
 *
 * @param shadow Values of the shadow.
 * @param label How people call it.
 * @param master Values of the servo that it follows.
 * @param masterLabel How people call that one.
 * @returns What is wrong; empty when they agree.
 */
export function inspectShadow(
  shadow: ServoValues,
  label: string,
  master: ServoValues,
  masterLabel: string,
): Finding[] {
  const apart = Math.abs(shadow.presentPosition - master.presentPosition);
  if (apart <= MAX_SHADOW_TICKS) return [];
  return [{
    severity: "refuse",
    sentence: `${label}: it stands at ${shadow.presentPosition} ticks, ${apart} from ` +
      `${masterLabel} at ${master.presentPosition}, allowed are ${MAX_SHADOW_TICKS}; they would ` +
      "fight each other: run `deno task robot calibrate`",
  }];
}
