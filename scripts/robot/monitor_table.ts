/**
 * What `deno task robot monitor` shows: one row a servo, of both arms.
 *
 * @module
 */

import { textTable } from "../../common/cli/text_table.ts";
import type { ArmName } from "../../common/robot/aloha.ts";
import { servoFaults } from "../../controller/arms/servo_faults.ts";
import { SERVO_LAYOUT } from "../../controller/arms/servo_layout.ts";
import { ticksToRad } from "../../controller/arms/units.ts";
import { WATCHDOG_UNIT_MS } from "../../controller/arms/watchdog.ts";
import { CURRENT_UNIT_MA, VELOCITY_UNIT_RPM } from "../../controller/dynamixel/control_table.ts";
import type { BusHealth, BusState } from "../../controller/dynamixel/thread/bus_readings.ts";

/** One servo at one moment; null where it has not said. Shadows are not asked for their motion. */
export interface MonitorRow {
  /** Its arm. */
  readonly arm: ArmName;
  /** Its ID, 1–9. */
  readonly id: number;
  /** Its name, such as `left_elbow`. */
  readonly name: string;
  /** Whether it answered in the last cycle; null of a shadow. */
  readonly hasAnswered: boolean | null;
  /** Angle in rad. */
  readonly positionRad: number | null;
  /** Angle in ticks. */
  readonly positionTicks: number | null;
  /** Speed in rad/s. */
  readonly velocityRadS: number | null;
  /** Current in mA. */
  readonly currentMa: number | null;
  /** Temperature in °C. */
  readonly temperatureC: number | null;
  /** Input voltage in V. */
  readonly voltageV: number | null;
  /** Hardware_Error_Status. */
  readonly hardwareError: number | null;
  /** Whether it has torque. */
  readonly hasTorque: boolean | null;
  /** Bus_Watchdog in units of 20 ms; 0 is off, −1 has expired. */
  readonly watchdog: number | null;
}

const RAD_S_PER_RPM = 2 * Math.PI / 60;

/** A number that JSON can carry. */
const known = (x: number | undefined) => x === undefined || !Number.isFinite(x) ? null : x;
const scaled = (x: number | undefined, unit: number) => {
  const value = known(x);
  return value === null ? null : value * unit;
};

/**
 * The rows of one arm.
 *
 * @param arm Which arm.
 * @param state What its servos said in the last cycle; null before the first.
 * @param health Their health; null before it was first read.
 * @returns Nine rows, in the order of the IDs.
 */
export function monitorRows(
  arm: ArmName,
  state: BusState | null,
  health: BusHealth | null,
): MonitorRow[] {
  return SERVO_LAYOUT.map(({ id, name }) => {
    const moving = state?.servos.find((servo) => servo.id === id);
    const own = health?.servos.find((servo) => servo.id === id);
    const ticks = known(moving?.positionTicks);
    const torque = known(own?.torque);
    return {
      arm,
      id,
      name: `${arm}_${name}`,
      hasAnswered: moving?.hasAnswered ?? null,
      positionRad: ticks === null ? null : ticksToRad(ticks),
      positionTicks: ticks,
      velocityRadS: scaled(moving?.velocity, VELOCITY_UNIT_RPM * RAD_S_PER_RPM),
      currentMa: scaled(moving?.current, CURRENT_UNIT_MA),
      temperatureC: known(own?.temperatureC),
      voltageV: scaled(own?.voltage, 0.1),
      hardwareError: known(own?.hardwareError),
      hasTorque: torque === null ? null : torque === 1,
      watchdog: known(own?.watchdog),
    };
  });
}

/**
 * Rows for people.
 *
 * @param rows Of one arm or both.
 * @returns Lines of a table.
 */
export function monitorTable(rows: readonly MonitorRow[]): string {
  const header = [
    "servo",
    "ID",
    "rad",
    "ticks",
    "rad/s",
    "mA",
    "°C",
    "V",
    "error",
    "torque",
    "dog",
  ];
  const number = (x: number | null, digits: number) => x === null ? "-" : x.toFixed(digits);
  return textTable(
    header,
    rows.map((row) => [
      row.name,
      `${row.id}`,
      ...(row.hasAnswered === false ? ["silent", "-", "-", "-"] : [
        number(row.positionRad, 3),
        number(row.positionTicks, 0),
        number(row.velocityRadS, 2),
        number(row.currentMa, 0),
      ]),
      number(row.temperatureC, 0),
      number(row.voltageV, 1),
      errorText(row.hardwareError),
      row.hasTorque === null ? "-" : row.hasTorque ? "on" : "off",
      watchdogText(row.watchdog),
    ]),
  );
}

function errorText(status: number | null): string {
  if (status === null) return "-";
  return status === 0 ? "none" : servoFaults(status).join(", ") || `${status}`;
}

function watchdogText(units: number | null): string {
  if (units === null) return "-";
  if (units === 0) return "off";
  return units < 0 ? "EXPIRED" : `${units * WATCHDOG_UNIT_MS} ms`;
}
