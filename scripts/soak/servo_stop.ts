/**
 * When servos stood still, from samples of their positions. Pure.
 *
 * @module
 */

/** Positions of servos at many moments. */
export interface PositionSamples {
  /** When each sample was taken, rising, in ms of `sharedNowMs`, `[n]`. */
  readonly timesMs: Float64Array;
  /** Present_Position in ticks, `[n, servos]`. */
  readonly ticks: Int32Array;
}

/**
 * The last time that any servo was seen at another place than in the sample before.
 *
 * @param samples Positions.
 * @param fromMs Changes up to then do not count.
 * @returns In ms of the samples' clock; `fromMs` if nothing has moved since.
 */
export function lastChangeMs({ timesMs, ticks }: PositionSamples, fromMs: number): number {
  const servos = ticks.length / timesMs.length;
  for (let i = timesMs.length - 1; i > 0 && timesMs[i] > fromMs; i--) {
    for (let servo = 0; servo < servos; servo++) {
      if (ticks[i * servos + servo] !== ticks[(i - 1) * servos + servo]) return timesMs[i];
    }
  }
  return fromMs;
}

/**
 * The time from which on no servo moves by more than a few ticks within any window.
 *
 * @param samples Positions.
 * @param fromMs Motion before does not count.
 * @param window Length of the window in ms, and the ticks that are no motion.
 * @returns In ms of the samples' clock; `fromMs` if they stood all the time; NaN if they still move at
 *   the end of the samples.
 */
export function stillFromMs(
  { timesMs, ticks }: PositionSamples,
  fromMs: number,
  window: { readonly lengthMs: number; readonly ticks: number },
): number {
  const servos = ticks.length / timesMs.length;
  const endMs = timesMs[timesMs.length - 1];
  for (let start = timesMs.length - 1; start >= 0 && timesMs[start] >= fromMs; start--) {
    for (let servo = 0; servo < servos; servo++) {
      let least = Infinity, most = -Infinity;
      for (let i = start; i < timesMs.length; i++) {
        if (timesMs[i] > timesMs[start] + window.lengthMs) break;
        const at = ticks[i * servos + servo];
        least = Math.min(least, at);
        most = Math.max(most, at);
      }
      if (most - least <= window.ticks) continue;
      const next = timesMs[start + 1];
      return next + window.lengthMs <= endMs ? next : NaN;
    }
  }
  return fromMs;
}

/**
 * Whether any servo moved in a stretch of time.
 *
 * @param samples Positions.
 * @param fromMs Its beginning.
 * @param untilMs Its end.
 * @returns False also when there are no two samples in it.
 */
export function hasMoved(
  { timesMs, ticks }: PositionSamples,
  fromMs: number,
  untilMs: number,
): boolean {
  const servos = ticks.length / timesMs.length;
  for (let i = 1; i < timesMs.length; i++) {
    if (timesMs[i - 1] < fromMs || timesMs[i] > untilMs) continue;
    for (let servo = 0; servo < servos; servo++) {
      if (ticks[i * servos + servo] !== ticks[(i - 1) * servos + servo]) return true;
    }
  }
  return false;
}
