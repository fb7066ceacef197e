/**
 * The check at start: who is on the bus, and whether each servo is what and how it must be.
 *
 * Everything is read, nothing is written. A problem either refuses the arm or warns of something that
 * preparing the arm puts right or a person should know.
 *
 * @module
 */

import { setTimeout } from "node:timers/promises";
import type { ArmName } from "../../common/robot/aloha.ts";
import { textTable } from "../../common/cli/text_table.ts";
import { BusError } from "../dynamixel/bus.ts";
import { type ControlItemName, CURRENT_UNIT_MA } from "../dynamixel/control_table.ts";
import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";
import { type Finding, inspectServo, inspectShadow } from "./inspect_servo.ts";
import { servoLabel } from "./servo_faults.ts";
import { isSilence } from "./servo_silence.ts";
import { SERVO_LAYOUT, type ServoLayout } from "./servo_layout.ts";
import { ticksToRad } from "./units.ts";
import { readItems } from "./verified_write.ts";

/** Before an arm that is not fit is looked at once more, ms. */
const SECOND_LOOK_MS = 100;

/** Items that the check reads of every servo. */
export const CHECKED_ITEMS = [
  "modelNumber",
  "firmwareVersion",
  "returnDelayTime",
  "driveMode",
  "operatingMode",
  "secondaryId",
  "homingOffset",
  "temperatureLimit",
  "maxVoltageLimit",
  "minVoltageLimit",
  "velocityLimit",
  "maxPositionLimit",
  "minPositionLimit",
  "shutdown",
  "torqueEnable",
  "hardwareErrorStatus",
  "busWatchdog",
  "presentCurrent",
  "presentPosition",
  "presentInputVoltage",
  "presentTemperature",
] as const satisfies readonly ControlItemName[];

/** One of {@link CHECKED_ITEMS}. */
export type CheckedItem = (typeof CHECKED_ITEMS)[number];

/** Values of a servo's items, each in its item's unit. */
export type ServoValues = Readonly<Record<CheckedItem, number>>;

/** What was found of one servo. */
export interface ServoRow {
  /** What it must be. */
  readonly layout: ServoLayout;
  /** What it is; null when it does not answer. */
  readonly values: ServoValues | null;
}

/** Something wrong with an arm. */
export interface ArmProblem extends Finding {
  /** The servo. */
  readonly servoId: number;
}

/** What was found of an arm. */
export interface ArmCheck {
  /** Which arm. */
  readonly arm: ArmName;
  /** The device of its bus. */
  readonly port: string;
  /** Its nine servos, in the order of their IDs. */
  readonly rows: readonly ServoRow[];
  /** What is wrong, in the order of the servos. */
  readonly problems: readonly ArmProblem[];
  /** No problem refuses the arm. */
  readonly isFit: boolean;
}

/**
 * Check an arm. It takes some 200 exchanges with the servos. One that is not fit is looked at twice: a
 * servo, or this computer, may have been busy, and a servo that has just come back may still be on its
 * way to where its shadow stands.
 *
 * @param servos Its bus.
 * @param arm Which arm it is, for the sentences.
 * @returns What was found; servos that do not answer are problems, not errors.
 * @throws {BusError} The port itself is gone or taken (`device`, `busy`).
 */
export async function checkArm(servos: ServoAccess, arm: ArmName): Promise<ArmCheck> {
  const check = await lookAtArm(servos, arm);
  if (check.isFit) return check;
  await setTimeout(SECOND_LOOK_MS);
  return await lookAtArm(servos, arm);
}

async function lookAtArm(servos: ServoAccess, arm: ArmName): Promise<ArmCheck> {
  const rows: ServoRow[] = [];
  const problems: ArmProblem[] = [];
  for (const layout of SERVO_LAYOUT) {
    const { id, shadowOf } = layout;
    const label = servoLabel(arm, id);
    const values = await readServo(servos, id);
    if (values instanceof BusError) {
      const sentence = values.fault === "refused"
        ? `${label} refuses to be read on ${servos.port}: update its firmware with DYNAMIXEL Wizard`
        : `${label} does not answer on ${servos.port}: check its cable and its power, and that its ` +
          `ID is ${id} at 1 Mbit/s`;
      problems.push({
        servoId: id,
        severity: "refuse",
        sentence: `${sentence} (${values.message})`,
      });
      rows.push({ layout, values: null });
      continue;
    }
    const findings = inspectServo(layout, values, label);
    const master = rows.find((row) => row.layout.id === shadowOf);
    if (master !== undefined && master.values !== null) {
      findings.push(
        ...inspectShadow(values, label, master.values, servoLabel(arm, master.layout.id)),
      );
    }
    problems.push(...findings.map((finding) => ({ ...finding, servoId: id })));
    rows.push({ layout, values });
  }
  const isFit = problems.every(({ severity }) => severity !== "refuse");
  return { arm, port: servos.port, rows, problems, isFit };
}

async function readServo(servos: ServoAccess, id: number): Promise<ServoValues | BusError> {
  try {
    await servos.ping(id);
    const values = await readItems(servos, id, CHECKED_ITEMS);
    return Object.fromEntries(CHECKED_ITEMS.map((item, i) => [item, values[i]])) as ServoValues;
  } catch (error) {
    if (isSilence(error) || (error instanceof BusError && error.fault === "refused")) return error;
    throw error;
  }
}

/**
 * The check for people: a table of the servos, and what is wrong with them.
 *
 * @param check From {@link checkArm}.
 * @returns Lines for a terminal.
 */
export function armTable(check: ArmCheck): string {
  const header = [
    "servo",
    "ID",
    "model",
    "firmware",
    "mode",
    "torque",
    "volts",
    "°C",
    "mA",
    "ticks",
    "rad",
    "verdict",
  ];
  const rows = check.rows.map(({ layout, values }) => {
    const { id, name } = layout;
    const own = check.problems.filter(({ servoId }) => servoId === id);
    const isRefused = own.some(({ severity }) => severity === "refuse");
    const verdict = isRefused ? "REFUSED" : own.length > 0 ? "warning" : "ok";
    if (values === null) return [name, `${id}`, ...new Array(9).fill("-"), verdict];
    const isKnown = values.modelNumber === layout.model.number;
    return [
      name,
      `${id}`,
      isKnown ? layout.model.name : `${values.modelNumber}`,
      `${values.firmwareVersion}`,
      `${values.operatingMode}`,
      values.torqueEnable === 1 ? "on" : "off",
      (values.presentInputVoltage / 10).toFixed(1),
      `${values.presentTemperature}`,
      (values.presentCurrent * CURRENT_UNIT_MA).toFixed(0),
      `${values.presentPosition}`,
      ticksToRad(values.presentPosition).toFixed(3),
      verdict,
    ];
  });
  const verdict = check.isFit ? "fit to be prepared" : "refused";
  const lines = check.problems.map(({ severity, sentence }) =>
    `${severity === "refuse" ? "REFUSED" : "warning"}: ${sentence}`
  );
  return [
    `${check.arm} arm on ${check.port}: ${verdict}`,
    textTable(header, rows),
    ...lines,
  ].join("\n");
}
