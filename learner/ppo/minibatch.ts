/**
 * How an update's chunks are cut into batches, and batches into micro-batches.
 * @module
 */

/**
 * Cut chunks at random into batches of like length, in random order: a batch is as long as its
 * longest chunk, and a few long ones would otherwise make every batch slow.
 * @param lengths Tokens of each chunk.
 * @param size Chunks of a batch, at least 1.
 * @param random Independent uniform numbers in [0, 1).
 * @returns Indices; a short rest is a batch of its own.
 */
export function minibatches(
  lengths: readonly number[],
  size: number,
  random: () => number,
): number[][] {
  const order = shuffle(lengths.map((_, i) => i), random).sort((i, j) => lengths[i] - lengths[j]);
  return shuffle(partsOf(order, size), random);
}

/**
 * Cut a list into parts, in order.
 * @param size Items of a part, at least 1; the last one may have fewer.
 */
export function partsOf<T>(items: readonly T[], size: number): T[][] {
  return Array.from(
    { length: Math.ceil(items.length / size) },
    (_, part) => items.slice(part * size, (part + 1) * size),
  );
}

/** Shuffle in place (Fisher and Yates). */
function shuffle<T>(items: T[], random: () => number): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}
