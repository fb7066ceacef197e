/**
 * Restarts servos: the gripper at every reset, as ALOHA does, and those that have shut down.
 *
 * A restart can leave the bus without traffic for longer than the other servos' watchdogs allow: either
 * the cycles of the bus go on meanwhile, or the watchdogs are disarmed before.
 *
 * @module
 */

import type { ArmName } from "../../common/robot/aloha.ts";
import { HARDWARE_ERROR } from "../dynamixel/protocol/status_error.ts";
import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";
import type { ArmLimits } from "../safety/limits.ts";
import { HOT_C, WARM_C } from "./inspect_servo.ts";
import { prepareServos } from "./prepare_arm.ts";
import { faultSentence, servoLabel } from "./servo_faults.ts";
import { GRIPPER_ID, SERVO_LAYOUT } from "./servo_layout.ts";
import { unlessSilent } from "./servo_silence.ts";
import { enableTorque } from "./torque.ts";
import { readItem, readItems, writeVerified } from "./verified_write.ts";
import { armWatchdog } from "./watchdog.ts";

/** What restarting needs of its caller. */
export interface RestartOptions {
  /** Waits for so many ms. */
  readonly sleep: (ms: number) => Promise<void>;
  /** The time in ms of a clock that never goes back; `performance.now` unless told. */
  readonly nowMs?: () => number;
  /** Torque is not switched on, and the EEPROM is left alone. */
  readonly isDryRun?: boolean;
}

/** How long a servo may take to answer after a restart, in ms; it takes about 0.3 s. */
export const RESTART_DEADLINE_MS = 3000;

const POLL_MS = 100;

/**
 * Restart the gripper's servo, which forgets an overload and counts its turn anew, and give it back
 * what it had: settings, torque and watchdog. The gripper is slack meanwhile.
 *
 * @param servos The arm's bus.
 * @param limits The arm's limits.
 * @param options Clock and sleep.
 * @throws {Error} The servo does not come back in time, or does not keep its settings.
 * @throws {BusError} The servo does not answer before the restart, or refuses.
 */
export async function rebootGripper(
  servos: ServoAccess,
  limits: ArmLimits,
  options: RestartOptions,
): Promise<void> {
  const [torque, watchdog] = await readItems(servos, GRIPPER_ID, ["torqueEnable", "busWatchdog"]);
  await restart(servos, [GRIPPER_ID], options);
  await prepareServos(servos, [GRIPPER_ID], limits, { isDryRun: options.isDryRun });
  if (torque === 1) {
    await enableTorque(servos, { isDryRun: options.isDryRun, ids: [GRIPPER_ID] });
  }
  if (watchdog > 0) await armWatchdog(servos, watchdog, [GRIPPER_ID]);
}

/**
 * Restart servos that have shut down, and prepare them again. Their torque stays off: a person supports
 * the arm, which is slack at these joints, and homes it afterwards. With a servo go its shadow and its
 * master, for a joint must not be held by half.
 *
 * @param servos The arm's bus.
 * @param arm Which arm it is, for the sentences.
 * @param ids The servos to look at, 1–9; those without a hardware error are left alone.
 * @param limits The arm's limits.
 * @param options Clock and sleep.
 * @returns The servos that were restarted, in rising order.
 * @throws {Error} A servo is still too hot (nothing is restarted then), does not come back in time, or
 * comes back with an error.
 * @throws {BusError} A servo does not answer before the restart, or refuses.
 */
export async function recoverServos(
  servos: ServoAccess,
  arm: ArmName,
  ids: readonly number[],
  limits: ArmLimits,
  options: RestartOptions,
): Promise<number[]> {
  const faulty: number[] = [];
  for (const id of ids) {
    const items = ["hardwareErrorStatus", "presentTemperature"] as const;
    const [status, temperatureC] = await readItems(servos, id, items);
    if (status === 0) continue;
    faulty.push(id);
    const coolC = status & HARDWARE_ERROR.overheating ? WARM_C : HOT_C;
    if (temperatureC >= coolC) {
      throw new Error(
        `Cannot recover ${servoLabel(arm, id)}: it has ${temperatureC} °C, must be below ` +
          `${coolC} °C; let it cool and try again`,
      );
    }
  }
  const restarted = SERVO_LAYOUT
    .filter(({ id, shadowOf }) =>
      SERVO_LAYOUT.some((other) =>
        faulty.includes(other.id) &&
        (other.id === id || other.shadowOf === id || other.id === shadowOf)
      )
    )
    .map(({ id }) => id);
  if (restarted.length === 0) return restarted;
  await restart(servos, restarted, options);
  for (const id of restarted) {
    const status = await readItem(servos, id, "hardwareErrorStatus");
    if (status !== 0) {
      throw new Error(
        `Cannot recover an arm: after its restart, ${faultSentence(arm, id, status)}`,
      );
    }
  }
  await prepareServos(servos, restarted, limits, { isDryRun: options.isDryRun });
  return restarted;
}

/**
 * Restart servos and wait until all of them answer. The LED is in the RAM, which a restart clears: it
 * tells a servo that has restarted from one that has not heard of it, as an answer to the instruction
 * itself may be lost.
 */
async function restart(
  servos: ServoAccess,
  ids: readonly number[],
  { sleep, nowMs = () => performance.now() }: RestartOptions,
): Promise<void> {
  for (const id of ids) await writeVerified(servos, id, [["led", 1]]);
  // A shadow may restart with its master, and is silent then: shadows go first.
  for (const id of ids.toReversed()) await unlessSilent(servos.reboot(id));
  const deadlineMs = nowMs() + RESTART_DEADLINE_MS;
  for (const id of ids) {
    for (;;) {
      await sleep(POLL_MS);
      const led = await unlessSilent(servos.read(id, "led"));
      if (led === 0) break;
      if (nowMs() >= deadlineMs) {
        throw new Error(
          `Cannot restart ${servoLabel(null, id)} on ${servos.port}: ` +
            (led === undefined ? "it has not answered" : "it has answered without restarting") +
            ` for ${RESTART_DEADLINE_MS} ms; check its cable and its power`,
        );
      }
      if (led !== undefined) await unlessSilent(servos.reboot(id));
    }
  }
}
