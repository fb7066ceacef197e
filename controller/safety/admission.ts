/**
 * Decides whether a policy may move a real arm.
 *
 * @module
 */

import { ARM_NAMES, type ArmName } from "../../common/robot/aloha.ts";
import { CAMERA_NAMES, type CameraName } from "../../common/types.ts";
import type { Signature } from "../../common/wire/messages.ts";
import type { SafetyLimits } from "./limits.ts";

/** Where weights come from. */
export type WeightsOrigin = "checkpoint" | "learner" | "random";

/** How fresh a camera is. */
export interface CameraFreshness {
  /** Which camera. */
  readonly name: CameraName;
  /** Age of its newest frame, in milliseconds; Infinity if there is none yet. */
  readonly ageMs: number;
}

/** Whether an arm passed its start-up check. */
export interface ArmReadiness {
  /** Which arm. */
  readonly name: ArmName;
  /** Every servo was pinged and its model, limits, voltage and temperature were checked. */
  readonly isChecked: boolean;
}

/** What the decision rests on. Everything must be said. */
export interface AdmissionFacts {
  /** Where the weights come from. `learner` is only as good as what the learner started from. */
  readonly weights: WeightsOrigin;
  /** For weights of a learner: where its own came from. For others the same as `weights`. */
  readonly startedFrom: Exclude<WeightsOrigin, "learner">;
  /** What the policy is. */
  readonly signature: Signature;
  /** What this robot needs of it: each of these entries must be the same in `signature`. */
  readonly requiredSignature: Signature;
  /** Cameras of the robot; all of `CAMERA_NAMES` must be among them. */
  readonly cameras: readonly CameraFreshness[];
  /** Oldest frame that may be acted on, in milliseconds. */
  readonly maxCameraAgeMs: number;
  /** Arms of the robot; both must be among them. */
  readonly arms: readonly ArmReadiness[];
  /** Limits in force; null if none are loaded. */
  readonly limits: SafetyLimits | null;
}

/**
 * Everything that keeps a policy from moving a real arm.
 *
 * @param facts What is known.
 * @returns One sentence for each reason; none means that the policy may move the arms.
 */
export function admissionRefusals(facts: AdmissionFacts): string[] {
  return [
    ...weightsRefusals(facts),
    ...signatureRefusals(facts),
    ...cameraRefusals(facts),
    ...armRefusals(facts),
    ...limitsRefusals(facts),
  ];
}

/**
 * Whether a real robot may take weights of a learner.
 *
 * @param learner Name of its run, and what its own weights began with.
 * @returns One sentence why not; null if it may.
 */
export function learnerRefusal(
  { runName, initialization }: {
    readonly runName: string;
    readonly initialization: AdmissionFacts["startedFrom"];
  },
): string | null {
  if (initialization !== "random") return null;
  return `The learner's run ${JSON.stringify(runName)} began with random weights, which a real ` +
    "arm never executes: start the learner from a trained checkpoint";
}

function weightsRefusals({ weights, startedFrom }: AdmissionFacts): string[] {
  if (weights !== "random" && startedFrom !== "random") return [];
  return [
    "The policy's weights are randomly initialised, which a real arm never executes: " +
    "name a trained checkpoint",
  ];
}

function signatureRefusals({ signature, requiredSignature }: AdmissionFacts): string[] {
  const names = Object.keys(requiredSignature);
  if (names.length === 0) {
    return ["This robot does not say what it needs of a policy: give it a required signature"];
  }
  return names.flatMap((name) => {
    const has = Object.hasOwn(signature, name) ? `"${signature[name]}"` : "missing";
    const needs = `"${requiredSignature[name]}"`;
    if (has === needs) return [];
    return [
      `The policy does not fit this robot: its ${name} is ${has}, the robot needs ${needs}; ` +
      "use a checkpoint that was trained for this robot",
    ];
  });
}

function cameraRefusals(facts: AdmissionFacts): string[] {
  const { cameras, maxCameraAgeMs } = facts;
  if (!(maxCameraAgeMs > 0 && maxCameraAgeMs < Infinity)) {
    return [`The oldest usable frame is set to ${maxCameraAgeMs} ms: it must be above 0`];
  }
  return CAMERA_NAMES.flatMap((name) => {
    const known = cameras.filter((camera) => camera.name === name);
    if (known.length === 0) return [`Camera ${name} is missing: connect it and name its device`];
    const ages = known.map(({ ageMs }) => ageMs);
    // Written so that an age of NaN is stale; a frame from the future has a broken timestamp.
    if (ages.every((ageMs) => ageMs >= 0 && ageMs <= maxCameraAgeMs)) return [];
    return [
      `Camera ${name} is stale: its newest frame is ${ages.join(" and ")} ms old, at most ` +
      `${maxCameraAgeMs} ms are allowed; check its cable`,
    ];
  });
}

function armRefusals({ arms }: AdmissionFacts): string[] {
  return ARM_NAMES.flatMap((name) => {
    const known = arms.filter((arm) => arm.name === name);
    if (known.length > 0 && known.every(({ isChecked }) => isChecked)) return [];
    return [`The ${name} arm has not passed its check: run \`deno task robot check\``];
  });
}

function limitsRefusals({ limits }: AdmissionFacts): string[] {
  return limits === null ? ["No safety limits are loaded: load the defaults or a file"] : [];
}
