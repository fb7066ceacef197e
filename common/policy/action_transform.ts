/**
 * Between the robot's actions and the policy's: absolute joint targets of both arms on one side,
 * normalised differences from the state at the start of the chunk on the other.
 *
 * openpi trains ALOHA policies on differences for joints and on absolute values for grippers
 * (`transforms.DeltaActions` with mask 6, −1, 6, −1).
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM } from "../robot/aloha.ts";
import { normalize, type NormStats, unnormalize } from "../tokenizer/normalization.ts";

/** True for the index of a gripper in ALOHA's 14 numbers. */
function isGripper(index: number): boolean {
  return index % ARM_DIM === ARM_DIM - 1;
}

/**
 * A policy's chunk as absolute targets for the robot.
 * @param normalized `[H, A]`, nominally in [−1, 1].
 * @param state `[14]` at the start of the chunk: rad, gripper 0–1.
 * @param actionDim A: 14 moves both arms, 7 the left one while the right one holds `state`.
 * @returns `[H, 14]`.
 */
export function toRobotActions(
  normalized: Float32Array,
  state: Float32Array,
  actionDim: number,
  stats: NormStats,
): Float32Array {
  const horizon = normalized.length / actionDim;
  const raw = unnormalize(normalized, stats.actions);
  const out = new Float32Array(horizon * ALOHA_DIM);
  for (let h = 0; h < horizon; h++) {
    out.set(state, h * ALOHA_DIM);
    for (let i = 0; i < actionDim; i++) {
      const base = isGripper(i) ? 0 : state[i];
      out[h * ALOHA_DIM + i] = base + raw[h * actionDim + i];
    }
  }
  return out;
}

/**
 * Absolute targets as a policy's raw (not yet normalised) chunk: the reverse of the first half of
 * {@link toRobotActions}. Statistics are computed over these.
 * @param actions `[H, 14]` absolute targets.
 * @param state `[14]` at the start of the chunk.
 * @returns `[H, A]`.
 */
export function toPolicyActions(
  actions: Float32Array,
  state: Float32Array,
  actionDim: number,
): Float32Array {
  const horizon = actions.length / ALOHA_DIM;
  const out = new Float32Array(horizon * actionDim);
  for (let h = 0; h < horizon; h++) {
    for (let i = 0; i < actionDim; i++) {
      const base = isGripper(i) ? 0 : state[i];
      out[h * actionDim + i] = actions[h * ALOHA_DIM + i] - base;
    }
  }
  return out;
}

/** Normalise a raw chunk `[H, A]` of {@link toPolicyActions}. */
export function normalizeActions(raw: Float32Array, stats: NormStats): Float32Array {
  return normalize(raw, stats.actions);
}
