/**
 * How long a chunk of actions takes to become FAST tokens and actions again.
 * @module
 */

import { seededRandom } from "../../common/random.ts";
import { type BenchContext, loadBenchPolicy, startObservations } from "./context.ts";
import { type Measurement, summarize, timeRounds } from "./measurement.ts";

/** Different chunks, so that no branch is always the same. */
const CHUNKS = 16;

/** Time both directions on chunks that the policy sampled. */
export async function benchTokenizer(context: BenchContext): Promise<Measurement[]> {
  const { config, repeats, signal } = context;
  using policy = await loadBenchPolicy(context);
  const { fast } = policy.assets;
  const { horizon, actionDim } = policy.shape;
  const chunks = await policy.sampleActions(
    await startObservations(context, policy, CHUNKS),
    { temperature: config.temperature, random: seededRandom(config.seed) },
  );
  const time = async (work: (chunk: typeof chunks[number]) => unknown) => {
    const ms = await timeRounds(repeats, signal, () => chunks.forEach(work));
    return ms.map((one) => 1000 * one / CHUNKS);
  };
  const shape = `${horizon}×${actionDim}`;
  return [
    summarize(
      `encode ${shape}`,
      "µs",
      await time(({ actions }) => fast.encode(actions, horizon, actionDim)),
    ),
    summarize(
      `decode ${shape}`,
      "µs",
      await time(({ tokens }) => fast.decode(tokens, horizon, actionDim)),
    ),
    {
      name: "tokens a chunk (mean)",
      unit: "tokens",
      p50: chunks.reduce((n, c) => n + c.tokens.length, 0) / CHUNKS,
    },
  ];
}
