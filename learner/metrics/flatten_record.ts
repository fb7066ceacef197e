import type { UpdateRecord } from "../train_loop.ts";
import type { MetricsRecord } from "./sink.ts";

/** Numbers of a record that are told apart by precision and decoder, such as `behaviourKl.int8.wasm`. */
const BEHAVIOUR_KEYS = {
  mean: "behaviourGapMean",
  max: "behaviourGapMax",
  kl: "behaviourKl",
  tokens: "behaviourGapTokens",
} as const;

/**
 * An update's numbers, one a key, as sinks take them.
 *
 * @param record The update.
 * @returns The same numbers; those of each behaviour under `<key>.<precision>.<decoder>`, for behaviours
 *   of which the update had chunks to compare; chunks left out also under `malformedChunks.<fault>`.
 */
export function flattenRecord(
  { behaviourGaps, chunkFaults, firstFault: _, ...numbers }: UpdateRecord,
): MetricsRecord {
  const split = behaviourGaps.flatMap((gap) =>
    (["mean", "max", "kl", "tokens"] as const).map((field) => [
      `${BEHAVIOUR_KEYS[field]}.${gap.precision}.${gap.decoder}`,
      gap[field],
    ])
  );
  const faults = Object.entries(chunkFaults).map(([fault, chunks]) => [
    `malformedChunks.${fault}`,
    chunks,
  ]);
  return { ...numbers, ...Object.fromEntries([...split, ...faults]) };
}
