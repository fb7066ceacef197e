/**
 * `deno task robot calibrate`: makes the servos report the truth about a pose that a person has put an
 * arm into.
 *
 * @module
 */

import { consoleLogger } from "../../common/cli/logger.ts";
import {
  ARM_JOINT_NAMES,
  ARM_NAMES,
  type ArmName,
  SLEEP_POSE_RAD,
} from "../../common/robot/aloha.ts";
import { checkArm } from "../../controller/arms/arm_check.ts";
import {
  type HomingProposal,
  homingTable,
  proposeHomingOffsets,
  writeHomingOffsets,
} from "../../controller/arms/calibrate.ts";
import type { BusThread } from "../../controller/dynamixel/thread/bus_thread.ts";
import { agree, requireAgreement } from "./agreement.ts";
import { firstOf } from "./check.ts";
import { COMMON_FLAGS, readRequest, type ToolContext, YES_FLAG } from "./flags.ts";
import { describeMissing, openIdleArms } from "./idle_arms.ts";

/** Known poses: six joint angles in rad. The gripper's is not known, and it is left alone. */
const POSES = {
  sleep: SLEEP_POSE_RAD,
  zero: ARM_JOINT_NAMES.map(() => 0),
} as const satisfies Record<string, readonly number[]>;

const COMMAND = {
  name: "calibrate",
  summary:
    "Compare an arm that a person has put into a known pose, its torque off, with what its " +
    "servos report, and show the homing offsets that make them right. With --write they are " +
    "written and verified; a servo that does not report the pose then gets its old offset back, " +
    "as do those before it.",
  flags: {
    ...COMMON_FLAGS,
    ...YES_FLAG,
    arm: {
      kind: "choice",
      choices: ["left", "right", "both"],
      default: "both",
      description: "Which arm stands in the pose.",
    },
    pose: {
      kind: "choice",
      choices: ["sleep", "zero"],
      default: "sleep",
      description: "The pose: sleep lies at rest, zero has all six joints at 0 rad, the arm " +
        "stretched out forwards and held by a person.",
    },
    write: {
      kind: "boolean",
      default: false,
      description: "Write the offsets into the servos' EEPROM.",
    },
  },
} as const;

interface Plan {
  readonly arm: ArmName;
  readonly bus: BusThread;
  readonly proposals: readonly HomingProposal[];
}

/**
 * Run the subcommand.
 *
 * @param args The arguments behind its name.
 * @param context The program.
 * @throws {UsageError} Nobody can agree to writing.
 * @throws {Error} A proposal is refused, or writing failed; the sentence says what the offsets are then.
 */
export async function runCalibrate(args: readonly string[], context: ToolContext): Promise<void> {
  const request = await readRequest(COMMAND, args, context);
  if (request === null) return;
  const { settings, flags } = request;
  const { print, signal } = context;
  const logger = consoleLogger({ name: "robot", level: flags.json ? "info" : "warn" });
  const say = flags.json ? logger.info : print;
  const isWritten = flags.write && !settings.isDryRun;
  const { kind } = settings;
  const agreement = { kind, hasAgreed: flags.yes, keyboard: Deno.stdin, say, signal };
  if (isWritten) requireAgreement(agreement);
  const wanted = ARM_NAMES.filter((arm) => flags.arm === "both" || flags.arm === arm);
  await using arms = await openIdleArms(settings, { arms: wanted, logger });
  const missing = describeMissing(arms.missing);
  if (missing !== "") throw new Error(`Cannot calibrate: ${missing}`);

  const plans: Plan[] = [];
  const report: Record<string, unknown> = {};
  const checks = await Promise.all([...arms.buses].map(([arm, bus]) => checkArm(bus, arm)));
  signal.throwIfAborted();
  for (const check of checks) {
    const { arm } = check, bus = arms.buses.get(arm)!;
    const proposals = proposeHomingOffsets(check, POSES[flags.pose]);
    plans.push({ arm, bus, proposals });
    report[arm] = proposals.map(({ layout: { id, name }, ...row }) => ({ id, name, ...row }));
    if (flags.json) continue;
    print(`${arm} arm on ${bus.port}, pose ${flags.pose}:\n${homingTable(proposals)}\n`);
  }
  const all = plans.flatMap(({ proposals }) => proposals);
  const refusals = all.flatMap(({ refusal }) => refusal === null ? [] : [refusal]);
  const wrong = all.filter((row) => row.proposedOffset !== row.presentOffset).length;
  const written: Record<string, number[]> = {};
  if (refusals.length === 0 && wrong > 0 && isWritten) {
    say(`${wrong} homing offsets will be written; keep the arm still in its pose.`);
    await agree(agreement);
    for (const { arm, bus, proposals } of plans) {
      // Not stopped between two servos: a half-calibrated arm helps nobody.
      written[arm] = await writeHomingOffsets(bus, proposals);
      say(`The ${arm} arm: servos ${written[arm].join(", ") || "none"} were corrected.`);
    }
  } else if (refusals.length === 0) {
    say(
      wrong === 0
        ? "All homing offsets are right."
        : `${wrong} homing offsets are to be corrected: run this with --write.`,
    );
  }
  if (flags.json) print(JSON.stringify({ pose: flags.pose, arms: report, written }));
  if (refusals.length > 0) throw new Error(`Cannot calibrate: ${firstOf(refusals)}`);
}
