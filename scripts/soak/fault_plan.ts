/**
 * Which faults come when, decided by a seed. Pure.
 *
 * @module
 */

import { ARM_NAMES, type ArmName } from "../../common/robot/aloha.ts";
import { type RandomSource, uniform } from "../../common/random.ts";
import { CAMERA_NAMES, type CameraName } from "../../common/types.ts";
import { servoLabel } from "../../controller/arms/servo_faults.ts";
import { SERVO_LAYOUT } from "../../controller/arms/servo_layout.ts";

/** Kinds of faults; each comes once before any comes again. */
export const FAULT_KINDS = [
  "servo vanishes",
  "servo loses power",
  "bus unplugged",
  "camera dies",
  "overload",
  "overheating",
  "emergency stop",
] as const;

/** One of {@link FAULT_KINDS}. */
export type FaultKind = (typeof FAULT_KINDS)[number];

/** A fault with all that was drawn for it. */
export interface PlannedFault {
  /** What happens. */
  readonly kind: FaultKind;
  /** Pause before it, in ms, while the robot runs. */
  readonly afterMs: number;
  /** Arm to whose bus or servo it happens. */
  readonly arm: ArmName;
  /** Servo to which it happens, 1–9. */
  readonly servo: number;
  /** Camera to which it happens. */
  readonly camera: CameraName;
  /** How long it lasts, or a person takes to react, in ms. */
  readonly lastsMs: number;
}

/** Shortest and longest pauses between faults, in s. */
export interface Pauses {
  /** Shortest. */
  readonly minS: number;
  /** Longest. */
  readonly maxS: number;
}

/** How long each fault lasts, in ms: shortest and longest. */
const LASTS_MS: Readonly<Record<FaultKind, readonly [number, number]>> = {
  "servo vanishes": [300, 3_000],
  "servo loses power": [300, 3_000],
  "bus unplugged": [500, 5_000],
  "camera dies": [100, 3_000],
  "overload": [1_000, 3_000],
  "overheating": [1_000, 3_000],
  "emergency stop": [500, 3_000],
};

/** Faults after which no person has to do anything. */
const HEALS_BY_ITSELF: readonly FaultKind[] = [
  "servo vanishes",
  "servo loses power",
  "bus unplugged",
  "camera dies",
];

/**
 * Endless faults.
 *
 * @param random Decides everything.
 * @param pauses Between them.
 */
export function* planFaults(random: RandomSource, pauses: Pauses): Generator<PlannedFault, never> {
  const pick = <T>(values: readonly T[]) => values[Math.floor(random() * values.length)];
  for (;;) {
    for (const kind of shuffled(FAULT_KINDS, random)) {
      const [shortestMs, longestMs] = LASTS_MS[kind];
      yield {
        kind,
        afterMs: 1000 * uniform(random, pauses.minS, pauses.maxS),
        arm: pick(ARM_NAMES),
        servo: pick(SERVO_LAYOUT).id,
        camera: pick(CAMERA_NAMES),
        lastsMs: Math.round(uniform(random, shortestMs, longestMs)),
      };
    }
  }
}

/** Whether the robot must run again without a person. */
export function healsByItself({ kind }: Pick<PlannedFault, "kind">): boolean {
  return HEALS_BY_ITSELF.includes(kind);
}

/**
 * A fault in words.
 *
 * @param fault The fault.
 * @returns Such as "servo vanishes: left_elbow (servo 4), 1.2 s".
 */
export function describePlannedFault({ kind, arm, servo, camera, lastsMs }: PlannedFault): string {
  const lasts = `${(lastsMs / 1000).toFixed(1)} s`;
  switch (kind) {
    case "servo vanishes":
    case "servo loses power":
      return `${kind}: ${servoLabel(arm, servo)}, ${lasts}`;
    case "overload":
    case "overheating":
      return `${kind}: ${servoLabel(arm, servo)}`;
    case "bus unplugged":
      return `${kind}: ${arm}, ${lasts}`;
    case "camera dies":
      return `${kind}: ${camera}, ${lasts}`;
    case "emergency stop":
      return kind;
    default:
      return kind satisfies never;
  }
}

/**
 * Whether a line of the log names a fault: what is broken, and where.
 *
 * @param fault The fault.
 * @param line What the controller said.
 */
export function namesFault({ kind, arm, servo, camera }: PlannedFault, line: string): boolean {
  const label = servoLabel(arm, servo);
  switch (kind) {
    case "servo vanishes":
    case "servo loses power": {
      // "servos 4, 5 of the left arm", "servo 4 on …/left", "left_elbow (servo 4)".
      const numbers = new RegExp(
        `servos? (\\d+, )*${servo}(, \\d+)* (of the ${arm} arm|on \\S*${arm})`,
      );
      return line.includes(label) || numbers.test(line);
    }
    case "overload":
    case "overheating":
      return line.includes(label) && line.includes(kind);
    case "bus unplugged":
      return line.includes(`The ${arm} arm is lost`);
    case "camera dies":
      return line.includes(camera);
    case "emergency stop":
      return line.includes("EMERGENCY STOP by HTTP");
    default:
      return kind satisfies never;
  }
}

/** In random order (Fisher and Yates). */
function shuffled<T>(values: readonly T[], random: RandomSource): T[] {
  const order = [...values];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
