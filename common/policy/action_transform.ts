/**
 * Between the robot's numbers and the policy's: absolute joint targets of both arms on one side,
 * normalised differences from the state at the start of the chunk on the other.
 *
 * openpi trains ALOHA policies on differences for joints and on absolute values for grippers
 * (`transforms.DeltaActions` with mask 6, −1, 6, −1). Policies that started from its base models
 * speak another convention of joints and grippers as well (`adaptToPi`, see `aloha_pi.ts`): it is
 * applied outermost, so that normalisation and differences are in pi's.
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM } from "../robot/aloha.ts";
import { actionsFromPi, actionsToPi, stateToPi } from "../robot/aloha_pi.ts";
import { normalize, type NormStats, unnormalize } from "../tokenizer/normalization.ts";

/** True for the index of a gripper in ALOHA's 14 numbers. */
function isGripper(index: number): boolean {
  return index % ARM_DIM === ARM_DIM - 1;
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
 * @param adaptToPi The policy speaks pi's convention; targets and `state` are ALOHA's all the same.
 * @returns `[H, 14]`.
 */
export function toRobotActions(
  normalized: Float32Array,
  state: Float32Array,
  actionDim: number,
  stats: NormStats,
  adaptToPi: boolean = false,
): Float32Array {
  const horizon = normalized.length / actionDim;
  const raw = unnormalize(normalized, stats.actions);
  const start = toPolicyState(state, adaptToPi);
  const targets = new Float32Array(horizon * ALOHA_DIM);
  for (let h = 0; h < horizon; h++) {
    for (let i = 0; i < actionDim; i++) {
      const base = isGripper(i) ? 0 : start[i];
      targets[h * ALOHA_DIM + i] = base + raw[h * actionDim + i];
    }
  }
  const out = adaptToPi ? actionsFromPi(targets) : targets;
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
 * @param adaptToPi The policy speaks pi's convention; `actions` and `state` are ALOHA's all the same.
 * @returns `[H, A]`.
 */
export function toPolicyActions(
  actions: Float32Array,
  state: Float32Array,
  actionDim: number,
  adaptToPi: boolean = false,
): Float32Array {
  const horizon = actions.length / ALOHA_DIM;
  const targets = adaptToPi ? actionsToPi(actions) : actions;
  const start = toPolicyState(state, adaptToPi);
  const out = new Float32Array(horizon * actionDim);
  for (let h = 0; h < horizon; h++) {
    for (let i = 0; i < actionDim; i++) {
      const base = isGripper(i) ? 0 : start[i];
      out[h * actionDim + i] = targets[h * ALOHA_DIM + i] - base;
    }
  }
  return out;
}

/** Normalise a raw chunk `[H, A]` of {@link toPolicyActions}. */
export function normalizeActions(raw: Float32Array, stats: NormStats): Float32Array {
  return normalize(raw, stats.actions);
}
