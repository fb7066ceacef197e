/**
 * What a servo feels: the load on its shaft, an obstacle in its way, the warmth of its motor and the
 * voltage of its supply. A simple model, made to give a driver something to watch, not to predict one.
 *
 * @module
 */

/** What the world does to a servo. */
export interface Surroundings {
  /** Current in mA that the load on the shaft asks for, such as against gravity. */
  readonly loadMa: number;
  /** How far the load holds the shaft from its trajectory, in reported ticks at P gain 800. */
  readonly sagTicks: number;
  /** Supply voltage in V. */
  readonly supplyV: number;
  /** Temperature of the air in °C. */
  readonly ambientC: number;
  /** Positions in ticks between which the shaft can turn; beyond them it meets something hard. */
  readonly obstacleTicks: readonly [number, number];
}

/** Nothing in the way, a light load, ROBOTIS' recommended 12 V. */
export const FREE_SURROUNDINGS: Surroundings = {
  loadMa: 20,
  sagTicks: 0,
  supplyV: 12,
  ambientC: 25,
  obstacleTicks: [-Infinity, Infinity],
};

/** Current against friction at the speed without load, in mA. */
const FRICTION_MA = 120;
/** Current a tick of distance to the goal asks for against an obstacle, in mA, at P gain 800. */
const CONTACT_MA_PER_TICK = 8;
/** P gain for which stiffness and sag are said. */
export const STANDARD_P_GAIN = 800;
/** Time constant in ms in which a load makes itself felt once torque is on. */
export const SAG_TIME_MS = 20;
/** Warming of a motor stalled for good, in °C; less current warms by the square. */
const STALL_WARMING_C = 200;
/** Time constant of warming in s, about that of a motor's housing. */
const WARMING_TIME_S = 120;

/**
 * Current that the motor draws, before any limit.
 *
 * @param effort What it does: velocity as a share of the speed without load (−1…1), the distance in
 *   ticks that an obstacle keeps it from its trajectory, and its P gain.
 * @param loadMa Current that the load asks for.
 * @returns Current in mA, signed as the direction it pushes in.
 */
export function motorCurrentMa(
  effort: {
    readonly speedShare: number;
    readonly blockedTicks: number;
    readonly positionPGain: number;
  },
  loadMa: number,
): number {
  const stiffness = (CONTACT_MA_PER_TICK * effort.positionPGain) / STANDARD_P_GAIN;
  return loadMa + FRICTION_MA * effort.speedShare + stiffness * effort.blockedTicks;
}

/**
 * Temperature after a step.
 *
 * @param temperatureC Temperature before it.
 * @param currentShare Motor current as a share of the stall current.
 * @param ambientC Temperature of the air.
 * @param stepS Time of the step in seconds.
 * @returns Temperature in °C.
 */
export function stepTemperatureC(
  temperatureC: number,
  currentShare: number,
  ambientC: number,
  stepS: number,
): number {
  const target = ambientC + STALL_WARMING_C * currentShare ** 2;
  return temperatureC + (target - temperatureC) * (1 - Math.exp(-stepS / WARMING_TIME_S));
}
