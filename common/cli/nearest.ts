/**
 * Suggests what a person meant when a name was mistyped.
 *
 * @module
 */

/**
 * Levenshtein distance: the fewest insertions, deletions and replacements between two texts.
 *
 * @param from One text.
 * @param to The other.
 */
export function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = row[j - 1] + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[to.length];
}

/**
 * The candidate most like a mistyped name.
 *
 * @param name What was typed.
 * @param candidates What could have been meant.
 * @returns The nearest candidate, or undefined when none shares about two thirds of the letters.
 */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  const lower = name.toLowerCase();
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    // A typed beginning of a longer name, such as "env" of "env-steps", counts as one letter off.
    const distance = lower.length > 2 && candidate.startsWith(lower)
      ? 1
      : editDistance(lower, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  const allowed = Math.ceil(Math.max(name.length, best?.length ?? 0) / 3);
  return bestDistance <= allowed ? best : undefined;
}
