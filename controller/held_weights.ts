/**
 * Makes data stale on purpose: a controller that stays some versions behind the newest weights, as one
 * behind a slow network does. For experiments with what stale data does to training.
 *
 * @module
 */

import type { ChunkSink, NewWeights } from "./control_loop.ts";

/**
 * A way to the learner whose weights come late. The first ones come at once: nothing is older. So do the
 * first ones of a new connection: the learner may have gone back to older weights, of which those that
 * are held know nothing.
 *
 * @param sink Where weights come from; everything else is its own.
 * @param versions How many versions behind the newest, an integer ≥ 0; 0 holds nothing back. As many
 *   sets of weights are kept in memory.
 * @param connections Counts the connections so far; there is but one if absent.
 * @returns A sink that gives each version once a version that is at least so much newer has come.
 */
export function holdWeights(
  sink: ChunkSink,
  versions: number,
  connections: () => number = () => 0,
): ChunkSink {
  const held: NewWeights[] = [];
  let isFirst = true;
  let connection = connections();
  return {
    takeLatestWeights() {
      const newest = sink.takeLatestWeights();
      if (newest === null) return null;
      if (connections() !== connection) {
        connection = connections();
        held.length = 0;
        isFirst = true;
      }
      if (isFirst || versions === 0) {
        isFirst = false;
        return newest;
      }
      held.push(newest);
      // Versions that came between two looks were never seen: the next older one serves.
      const usable = held.findLastIndex(({ version }) => version <= newest.version - versions);
      return held.splice(0, usable + 1).at(-1) ?? null;
    },
    hasCapacity: () => sink.hasCapacity(),
    send: (transition) => sink.send(transition),
    until: (claim, timeoutMs) => sink.until(claim, timeoutMs),
  };
}
