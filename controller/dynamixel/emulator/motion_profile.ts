/**
 * How an X-series servo travels to its goal: speed rises at the profile's acceleration to the
 * profile's velocity and falls in time to stop at the goal. The goal may change on the way.
 *
 * @module
 */

/** Where the trajectory is. */
export interface MotionState {
  /** Position in ticks. */
  readonly position: number;
  /** Velocity in ticks/s. */
  readonly velocity: number;
}

/** What bounds the trajectory. */
export interface MotionLimits {
  /** Greatest speed in ticks/s. */
  readonly velocity: number;
  /** Greatest acceleration in ticks/s²; infinite to change speed at once. */
  readonly acceleration: number;
}

/**
 * Move one step along a trapezoid.
 *
 * @param state Where the trajectory is.
 * @param goal Where it goes, in ticks.
 * @param limits What bounds it.
 * @param stepS Time of the step in seconds, above 0.
 * @returns Where it is after the step.
 */
export function stepMotion(
  state: MotionState,
  goal: number,
  limits: MotionLimits,
  stepS: number,
): MotionState {
  const remaining = goal - state.position;
  const maxChange = limits.acceleration * stepS;
  const isSlowEnough = Math.abs(state.velocity) <= maxChange;
  if (isSlowEnough && Math.abs(remaining) <= Math.min(limits.velocity, maxChange) * stepS) {
    return { position: goal, velocity: 0 };
  }
  const wanted = Math.sign(remaining) *
    Math.min(limits.velocity, stoppingSpeed(Math.abs(remaining), limits.acceleration, stepS));
  const change = Math.max(-maxChange, Math.min(maxChange, wanted - state.velocity));
  const velocity = state.velocity + change;
  return { position: state.position + velocity * stepS, velocity };
}

/**
 * Greatest speed from which steps of constant deceleration still end within a distance: the solution
 * of v²/2a + v·step/2 = distance, where the second term is what a step at constant speed adds.
 */
function stoppingSpeed(distance: number, acceleration: number, stepS: number): number {
  if (acceleration === Infinity) return distance / stepS;
  const perStep = acceleration * stepS;
  return perStep * (Math.sqrt(0.25 + (2 * distance) / (perStep * stepS)) - 0.5);
}
