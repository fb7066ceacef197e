/**
 * How long chunks and weights take to become bytes and messages again.
 * @module
 */

import { readWeights } from "../../common/policy/load.ts";
import { decodeFrame, encodeFrame } from "../../common/wire/frames.ts";
import type { Message } from "../../common/wire/messages.ts";
import { splitWeights } from "../../common/wire/weights_parts.ts";
import { type BenchContext, collectEpisodes, loadBenchPolicy } from "./context.ts";
import { type Measurement, summarize, timeRounds } from "./measurement.ts";

/** Messages of one timing: one alone is below the clock's resolution. */
const FRAMES_PER_TIMING = 20;

/** Time a frame of one chunk and the frames of all weights. */
export async function benchWire(context: BenchContext): Promise<Measurement[]> {
  using policy = await loadBenchPolicy(context);
  const { episodes } = await collectEpisodes(context, policy, 1);
  const weights = splitWeights(
    { version: 1, tensors: await readWeights(policy) },
    context.config.maxMessageMib * 2 ** 20,
  );
  return [
    ...await benchMessages(context, "chunk", [
      { type: "transitions", transitions: [episodes[0][0]] },
    ]),
    ...await benchMessages(context, "weights", weights),
  ];
}

async function benchMessages(
  { repeats, signal }: BenchContext,
  name: string,
  messages: readonly Message[],
): Promise<Measurement[]> {
  const frames = messages.map((message) => encodeFrame(message));
  const bytes = frames.reduce((sum, frame) => sum + frame.length, 0);
  const time = async (work: () => void) => {
    const ms = await timeRounds(repeats, signal, () => {
      for (let i = 0; i < FRAMES_PER_TIMING; i++) work();
    });
    return ms.map((one) => 1000 * one / FRAMES_PER_TIMING);
  };
  const encodeUs = await time(() => messages.forEach((message) => encodeFrame(message)));
  const decodeUs = await time(() => frames.forEach((frame) => decodeFrame(frame)));
  return [
    { name: `${name}, size`, unit: "KiB", p50: bytes / 1024 },
    summarize(`${name}, encode`, "µs", encodeUs),
    summarize(`${name}, decode`, "µs", decodeUs),
  ];
}
