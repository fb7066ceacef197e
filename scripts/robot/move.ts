/**
 * `deno task robot home` and `sleep`: bring both arms to a pose, watched and stoppable.
 *
 * @module
 */

import { consoleLogger } from "../../common/cli/logger.ts";
import { ARM_DIM, ARM_NAMES, JOINTS_PER_ARM } from "../../common/robot/aloha.ts";
import type { Logger } from "../../common/types.ts";
import type { ArmsSettings } from "../../controller/aloha/flags.ts";
import { homePose, sleepPose } from "../../controller/arms/poses.ts";
import { SERVO_LAYOUT } from "../../controller/arms/servo_layout.ts";
import { agree, requireAgreement } from "./agreement.ts";
import { COMMON_FLAGS, readRequest, type ToolContext, YES_FLAG } from "./flags.ts";
import { MovingArms } from "./moving_arms.ts";

/** Time between two lines about how far the arms are, in ms. */
const PROGRESS_MS = 1_000;

/** What a session of moving arms is told. */
export interface MovingSession {
  /** Which arms, how and within which limits. */
  readonly settings: ArmsSettings;
  /** `--yes` was given. */
  readonly hasAgreed: boolean;
  /** What will happen, one sentence. */
  readonly intention: string;
  /** Takes lines about how far things are. */
  readonly say: (line: string) => void;
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Stops all motion. */
  readonly signal: AbortSignal;
  /** Called with every record of the motion thread; not to be kept. */
  readonly onRecord?: (record: Float64Array) => void;
}

/**
 * Open both arms, check them, ask for agreement, make them hold, and do something with them. Whatever
 * comes of it, a line says what state the arms are left in.
 *
 * @param session Which arms, and what will happen.
 * @param work Moves the arms.
 * @returns What the work gives.
 * @throws {UsageError} Nobody can agree.
 * @throws {Error} The arms are not fit, or fail; the signal's own reason when it stopped them.
 */
export async function withMovingArms<T>(
  session: MovingSession,
  work: (moving: MovingArms) => Promise<T>,
): Promise<T> {
  const { settings, hasAgreed, intention, say, signal } = session;
  const agreement = { kind: settings.kind, hasAgreed, keyboard: Deno.stdin, say, signal };
  requireAgreement(agreement);
  say(intention + (settings.isDryRun ? " This is a dry run: torque stays off." : ""));
  await using moving = await MovingArms.open(settings, session);
  try {
    await moving.check();
    await agree({ ...agreement, signal: moving.signal });
    say("Switching torque on, restarting the grippers …");
    await moving.engage();
    const result = await work(moving);
    if (!settings.isDryRun) say(`The arms ${moving.state}.`);
    return result;
  } catch (error) {
    const stop = await moving.stopReport();
    const motion = stop === null || moving.state.startsWith("are as they were")
      ? ""
      : `Stopped, last motion after ${stop.lastMotionMs.toFixed(0)} ms. `;
    say(`${motion}The arms ${moving.state}.`);
    // What a stop interrupted fails in its own ways: the stop is the reason.
    throw signal.aborted ? signal.reason : error;
  }
}

/**
 * Bring arms to a pose, and say once a second how far they still are.
 *
 * @param moving The arms, engaged.
 * @param pose 14 commands: rad, grippers 0–1.
 * @param what The pose for people, such as "the reset pose".
 * @param say Takes the lines.
 */
export async function moveWithProgress(
  moving: MovingArms,
  pose: Float32Array,
  what: string,
  say: (line: string) => void,
): Promise<void> {
  say(`Moving to ${what} …`);
  const timer = setInterval(() => {
    const measured = moving.arms.measured();
    const gaps = Array.from(
      pose,
      (x, i) => i % ARM_DIM === JOINTS_PER_ARM ? 0 : Math.abs(x - measured[i]),
    );
    say(`  ${Math.max(...gaps).toFixed(2)} rad to go`);
  }, PROGRESS_MS);
  try {
    await moving.move((signal) => moving.arms.moveTo(pose, signal));
  } finally {
    clearInterval(timer);
  }
}

const COMMANDS = {
  home: {
    name: "home",
    summary:
      "Check both arms, switch torque on, restart the grippers and move to the reset pose, " +
      "where the arms hold with torque on. Ctrl-C stops all motion at once.",
    flags: { ...COMMON_FLAGS, ...YES_FLAG },
  },
  sleep: {
    name: "sleep",
    summary:
      "Check both arms, switch torque on, lay them down in the sleep pose and switch torque " +
      "off. Ctrl-C stops all motion at once.",
    flags: { ...COMMON_FLAGS, ...YES_FLAG },
  },
} as const;

async function run(
  name: keyof typeof COMMANDS,
  args: readonly string[],
  context: ToolContext,
): Promise<void> {
  const request = await readRequest(COMMANDS[name], args, context);
  if (request === null) return;
  const { settings, flags } = request;
  const logger = consoleLogger({ name: "robot" });
  const isHome = name === "home";
  const outcome = await withMovingArms({
    settings,
    hasAgreed: flags.yes,
    intention: isHome
      ? "Both arms will stiffen, their grippers will restart and open, and they will move to the " +
        "reset pose: keep clear of them."
      : "Both arms will stiffen, lie down in their sleep pose and lose their torque: keep clear of " +
        "them.",
    say: flags.json ? logger.info : context.print,
    logger,
    signal: context.signal,
  }, async (moving) => {
    const say = flags.json ? logger.info : context.print;
    const pose = isHome ? homePose(1) : sleepPose();
    await moveWithProgress(moving, pose, isHome ? "the reset pose" : "the sleep pose", say);
    await moving.arms.motionStands();
    const measured = Array.from(moving.arms.measured());
    if (!isHome) await moving.letGo();
    return { pose: measured, torque: await readTorque(moving), state: moving.state };
  });
  if (flags.json) context.print(JSON.stringify(outcome));
}

/** Torque_Enable of all servos, read from them now. */
async function readTorque({ arms }: MovingArms): Promise<Record<string, number[]>> {
  const rows = ARM_NAMES.map(async (arm) => {
    const reads = SERVO_LAYOUT.map(({ id }) => arms.buses[arm].read(id, "torqueEnable"));
    return [arm, await Promise.all(reads)] as const;
  });
  return Object.fromEntries(await Promise.all(rows));
}

/**
 * Run `home`.
 *
 * @param args The arguments behind its name.
 * @param context The program.
 * @throws {Error} The arms are not fit or do not arrive; a line has said how they are left.
 */
export function runHome(args: readonly string[], context: ToolContext): Promise<void> {
  return run("home", args, context);
}

/**
 * Run `sleep`.
 *
 * @param args The arguments behind its name.
 * @param context The program.
 * @throws {Error} The arms are not fit or do not arrive; a line has said how they are left.
 */
export function runSleep(args: readonly string[], context: ToolContext): Promise<void> {
  return run("sleep", args, context);
}
