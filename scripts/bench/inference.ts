/**
 * How long the policy takes for a chunk, and where that time goes.
 * @module
 */

import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import { startDecoding } from "../../common/policy/network.ts";
import { seededRandom } from "../../common/random.ts";
import { closingTokens } from "../../common/tokenizer/dialect.ts";
import type { Observation } from "../../common/types.ts";
import { type BenchContext, loadBenchPolicy, startObservations } from "./context.ts";
import { type Measurement, summarize } from "./measurement.ts";
import { median } from "../statistics.ts";

/**
 * One chunk alone, as a robot infers it, and a rollout's batch. The first rounds, in which JavaScript
 * is still being compiled, are not counted: a robot runs for hours.
 */
const BATCHES = [{ batch: 1, warmUps: 20 }, { batch: 32, warmUps: 3 }];

/** A chunk of 16 steps covers 320 ms of motion; 60 ms of thought between two goes unnoticed. */
const GOAL_MS = 60;

/** Time whole chunks, and the prefill and the decoding of the same tokens by themselves. */
export async function benchInference(context: BenchContext): Promise<Measurement[]> {
  using policy = await loadBenchPolicy(context);
  const observations = await startObservations(
    context,
    policy,
    Math.max(...BATCHES.map((b) => b.batch)),
  );
  const measurements: Measurement[] = [];
  for (const batch of BATCHES) {
    measurements.push(...await benchBatch(context, policy, observations, batch));
  }
  return measurements;
}

async function benchBatch(
  { config, repeats, signal }: BenchContext,
  policy: ActorCritic,
  observations: readonly Observation[],
  { batch, warmUps }: (typeof BATCHES)[number],
): Promise<Measurement[]> {
  const random = seededRandom(config.seed);
  const { temperature } = config;
  const wholeMs: number[] = [], prefillMs: number[] = [], decodeMs: number[] = [];
  const steps: number[] = [];
  const rounds = Math.max(3, Math.round(repeats / Math.sqrt(batch)));
  for (let round = 0; round < rounds + warmUps; round++) {
    signal.throwIfAborted();
    const seen = Array.from(
      { length: batch },
      (_, i) => observations[(round * batch + i) % observations.length],
    );
    const start = performance.now();
    const chunks = await policy.sampleActions(seen, { temperature, random });
    const whole = performance.now() - start;
    const parts = await timeParts(policy, seen, chunks.map((chunk) => chunk.tokens));
    if (round < warmUps) continue;
    wholeMs.push(whole);
    prefillMs.push(parts.prefillMs);
    decodeMs.push(parts.decodeMs);
    steps.push(Math.max(...chunks.map((chunk) => chunk.tokens.length)));
  }
  const goal = batch === 1 ? { kind: "at most", value: GOAL_MS } as const : undefined;
  const meanSteps = steps.reduce((a, b) => a + b, 0) / steps.length;
  const decode = summarize(`  decode, batch ${batch}`, "ms", decodeMs);
  return [
    summarize(`chunk, batch ${batch}`, "ms", wholeMs, goal),
    summarize(`  prefill, batch ${batch}`, "ms", prefillMs),
    decode,
    {
      name: `  grammar and drawing, batch ${batch}`,
      unit: "ms",
      p50: Math.max(0, median(wholeMs.map((ms, i) => ms - prefillMs[i] - decodeMs[i]))),
    },
    // The first token comes of the prefill.
    { name: `  one decode step, batch ${batch}`, unit: "ms", p50: decode.p50 / (meanSteps - 1) },
    {
      name: `  tokens of the longest chunk, batch ${batch} (mean)`,
      unit: "tokens",
      p50: meanSteps,
    },
  ];
}

/** The network alone on tokens that are known: no grammar, no drawing. */
async function timeParts(
  policy: ActorCritic,
  observations: readonly Observation[],
  tokens: readonly Int32Array[],
): Promise<{ prefillMs: number; decodeMs: number }> {
  const start = performance.now();
  const input = policy.prepareInput(observations);
  const { prompts, forced } = input.ids;
  const shortest = Math.min(...prompts.map((prompt) => prompt.length));
  // The policy keeps room for the chunk's end: the cache is as large here as when it acts.
  const closing = closingTokens(policy.dialect);
  const budget = policy.shape.maxTokenLen - shortest - forced.length - closing;
  using decoding = await startDecoding(policy.network, input, budget);
  const middle = performance.now();
  const steps = Math.max(...tokens.map((row) => row.length));
  for (let step = 0; step < steps - 1; step++) {
    await decoding.feed(tokens.map((row) => row[Math.min(step, row.length - 1)]));
  }
  return { prefillMs: middle - start, decodeMs: performance.now() - middle };
}
