/**
 * Between the robot's numbers and the policy's: absolute joint targets of both arms on one side,
 * normalised differences from the state at the start of the chunk on the other.
 *
 * openpi trains ALOHA policies on differences for joints and on absolute values for grippers
 * (`transforms.DeltaActions` with mask 6, −1, 6, −1); LeRobot on targets as they are unless it is told
 * otherwise (`use_relative_actions`). Policies that started from its base models
 * speak another convention of joints and grippers as well (`adaptToPi`, see `aloha_pi.ts`): it is
 * applied outermost, so that normalisation and differences are in pi's.
 *
 * @module
 */

import type { ActionMode } from "../config/config.ts";
import { ALOHA_DIM, ARM_DIM } from "../robot/aloha.ts";
import { actionsFromPi, actionsToPi, stateToPi } from "../robot/aloha_pi.ts";
import { normalize, type NormStats, unnormalize } from "../tokenizer/normalization.ts";

/** How a policy says where the robot shall go; a policy's shape is one. */
export interface ActionConvention {
  /** States and actions are in the convention of openpi's base models; false if absent. */
  readonly adaptToPi?: boolean;
  /** What the numbers of an action are; `delta` if absent. */
  readonly actionMode?: ActionMode;
}

/** True for the index of a gripper in ALOHA's 14 numbers. */
export function isGripper(index: number): boolean {
  return index % ARM_DIM === ARM_DIM - 1;
}

/** Whether a number of an action is a difference from the state. */
function isDifference(index: number, { actionMode = "delta" }: ActionConvention): boolean {
  return actionMode === "delta_all" || (actionMode === "delta" && !isGripper(index));
}

/**
 * A robot's state in the policy's convention, not yet normalised.
 * @param state `[14]`: rad, gripper 0–1.
 * @param adaptToPi The policy speaks pi's convention.
 * @returns `[14]`.
 */
export function toPolicyState(state: Float32Array, adaptToPi: boolean = false): Float32Array {
  return adaptToPi ? stateToPi(state) : state;
}

/**
 * A policy's chunk as absolute targets for the robot.
 * @param normalized `[H, A]`, nominally in [−1, 1].
 * @param state `[14]` at the start of the chunk: rad, gripper 0–1.
 * @param actionDim A: 14 moves both arms, 7 the left one while the right one holds `state`.
 * @param convention The policy's; targets and `state` are ALOHA's all the same.
 * @returns `[H, 14]`.
 */
export function toRobotActions(
  normalized: Float32Array,
  state: Float32Array,
  actionDim: number,
  stats: NormStats,
  convention: ActionConvention = {},
): Float32Array {
  const horizon = normalized.length / actionDim;
  const raw = unnormalize(normalized, stats.actions);
  const start = toPolicyState(state, convention.adaptToPi);
  const targets = new Float32Array(horizon * ALOHA_DIM);
  for (let h = 0; h < horizon; h++) {
    for (let i = 0; i < actionDim; i++) {
      const base = isDifference(i, convention) ? start[i] : 0;
      targets[h * ALOHA_DIM + i] = base + raw[h * actionDim + i];
    }
  }
  const out = convention.adaptToPi ? actionsFromPi(targets) : targets;
  // What the policy does not command holds its place, in the robot's own numbers.
  for (let h = 0; h < horizon; h++) {
    out.set(state.subarray(actionDim), h * ALOHA_DIM + actionDim);
  }
  return out;
}

/**
 * Absolute targets as a policy's raw (not yet normalised) chunk: the reverse of the first half of
 * {@link toRobotActions}. Statistics are computed over these.
 * @param actions `[H, 14]` absolute targets.
 * @param state `[14]` at the start of the chunk.
 * @param convention The policy's; `actions` and `state` are ALOHA's all the same.
 * @returns `[H, A]`.
 */
export function toPolicyActions(
  actions: Float32Array,
  state: Float32Array,
  actionDim: number,
  convention: ActionConvention = {},
): Float32Array {
  const horizon = actions.length / ALOHA_DIM;
  const targets = convention.adaptToPi ? actionsToPi(actions) : actions;
  const start = toPolicyState(state, convention.adaptToPi);
  const out = new Float32Array(horizon * actionDim);
  for (let h = 0; h < horizon; h++) {
    for (let i = 0; i < actionDim; i++) {
      const base = isDifference(i, convention) ? start[i] : 0;
      out[h * actionDim + i] = targets[h * ALOHA_DIM + i] - base;
    }
  }
  return out;
}

/** Normalise a raw chunk `[H, A]` of {@link toPolicyActions}. */
export function normalizeActions(raw: Float32Array, stats: NormStats): Float32Array {
  return normalize(raw, stats.actions);
}
