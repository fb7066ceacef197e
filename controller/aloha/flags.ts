/**
 * Flags of every program that drives arms: which ones, over which buses, within which limits.
 *
 * @module
 */

import type { OwnFlags, OwnValues } from "../../common/cli/command.ts";
import { UsageError } from "../../common/cli/flags.ts";
import { DRIVER_CHOICES } from "../dynamixel/open_bus.ts";
import type { BusRateHz } from "../dynamixel/thread/messages.ts";
import { STOP_MODES } from "../safety/emergency_stop.ts";
import { type LoadedLimits, loadLimits } from "../safety/limits.ts";
import { EXECUTION_MODES } from "./arm_rollout.ts";
import type { ArmsKind } from "./robot_arms.ts";

/** Flags that say which arms are driven, and how. */
export const ARMS_FLAGS = {
  leftPort: {
    kind: "string",
    default: "/dev/ttyDXL_puppet_left",
    unit: "path",
    description: "Serial device of the left arm, for --robot aloha.",
  },
  rightPort: {
    kind: "string",
    default: "/dev/ttyDXL_puppet_right",
    unit: "path",
    description: "Serial device of the right arm, for --robot aloha.",
  },
  dxlDriver: {
    kind: "choice",
    choices: DRIVER_CHOICES,
    default: "auto",
    description:
      "Driver of the servos' buses: sdk is ROBOTIS' C library, builtin is embedded; auto " +
      "takes sdk where its library is found.",
  },
  dxlLibrary: {
    kind: "string",
    default: "",
    unit: "path",
    description: "ROBOTIS' library, such as libdxl_x64_c.so; empty for the environment variable " +
      "TENDON_DXL_LIBRARY, then the usual places.",
  },
  busRate: {
    kind: "choice",
    choices: ["50", "100", "200"],
    default: "50",
    description: "Cycles of each bus a second, Hz; above 50 the motion between two steps of the " +
      "policy is interpolated.",
  },
  limits: {
    kind: "string",
    default: "",
    unit: "path",
    description: "JSON file with all safety limits; empty for the defaults.",
  },
  dryRun: {
    kind: "boolean",
    default: false,
    description: "Do everything but switch torque on: nothing moves by itself.",
  },
} as const satisfies OwnFlags;

/** Flags of the program that runs a policy on arms. */
export const ROBOT_FLAGS = {
  ...ARMS_FLAGS,
  cameras: {
    kind: "string",
    default: "",
    unit: "path",
    description:
      "JSON file with a list of the cameras, required for --robot aloha; empty shows the " +
      "simulated scene to --robot emulated.",
  },
  prompt: {
    kind: "string",
    default: "",
    description: "The task in words, for the policy; empty for the words of --task.",
  },
  execution: {
    kind: "choice",
    choices: EXECUTION_MODES,
    default: "sync",
    description:
      "sync infers a chunk while the arms hold, overlap while the last steps of the one " +
      "before still run.",
  },
  overlapSteps: {
    kind: "integer",
    default: 4,
    minimum: 1,
    maximum: 50,
    unit: "control steps",
    description:
      "Steps that still run while the next chunk is inferred, with --execution overlap; " +
      "less than half of the horizon.",
  },
  stopMode: {
    kind: "choice",
    choices: STOP_MODES,
    default: "hold",
    description:
      "What an emergency stop does: hold keeps the pose by torque, torque-off lets the " +
      "arms drop.",
  },
  heartbeatTimeoutMs: {
    kind: "integer",
    default: 0,
    minimum: 0,
    maximum: 600_000,
    unit: "ms",
    description:
      "Silence of the operator (POST /heartbeat) after which the arms stop; 0 wants no " +
      "heartbeat.",
  },
  autoStart: {
    kind: "boolean",
    default: false,
    description: "Home and begin episodes without a person's start; always so for emulated arms. " +
      "After an emergency stop or a fault a person must say start all the same.",
  },
  stepLog: {
    kind: "string",
    default: "step_logs",
    unit: "path",
    description: "Folder for the log of every cycle; deno task replay reads it. Empty writes none.",
  },
} as const satisfies OwnFlags;

/** Values of {@link ARMS_FLAGS}. */
export type ArmsFlags = OwnValues<typeof ARMS_FLAGS>;

/** Values of {@link ROBOT_FLAGS}. */
export type RobotFlags = OwnValues<typeof ROBOT_FLAGS>;

/** Which robot a controller drives. */
export const ROBOT_KINDS = ["simulated", "emulated", "aloha"] as const;

/** One of {@link ROBOT_KINDS}. */
export type RobotKindFlag = (typeof ROBOT_KINDS)[number];

/** Limits, ports and rate, checked. */
export interface ArmsSettings {
  /** Which arms. */
  readonly kind: ArmsKind;
  /** Their devices. */
  readonly ports: { readonly left: string; readonly right: string };
  /** Driver of the buses. */
  readonly driver: ArmsFlags["dxlDriver"];
  /** ROBOTIS' library from the command line. */
  readonly library: string;
  /** The same from the environment. */
  readonly libraryVariable: string;
  /** Cycles a second. */
  readonly rateHz: BusRateHz;
  /** Limits in force, and what is wider than the defaults. */
  readonly loaded: LoadedLimits;
  /** Torque stays off. */
  readonly isDryRun: boolean;
}

/**
 * Read what the flags say about the arms.
 *
 * @param kind Which arms.
 * @param flags The flags.
 * @param libraryVariable The environment's `TENDON_DXL_LIBRARY`; empty for none.
 * @returns Settings.
 * @throws {UsageError} Both arms are on one port.
 * @throws {TypeError | RangeError | SyntaxError} The file of the limits does not fit.
 */
export async function armsSettings(
  kind: ArmsKind,
  flags: ArmsFlags,
  libraryVariable: string,
): Promise<ArmsSettings> {
  const { leftPort: left, rightPort: right } = flags;
  if (left === right) {
    throw new UsageError(
      `Both arms are on ${left}: give --left-port and --right-port devices of their own.`,
    );
  }
  return {
    kind,
    ports: { left, right },
    driver: flags.dxlDriver,
    library: flags.dxlLibrary,
    libraryVariable,
    rateHz: Number(flags.busRate) as BusRateHz,
    loaded: await loadLimits(flags.limits === "" ? null : flags.limits),
    isDryRun: flags.dryRun,
  };
}
