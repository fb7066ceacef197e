/**
 * What few bits cost and what they save: how far the policy in 8 and in 4 bits is from float32 on
 * observations of its own episodes, and how long its chunks take beside float32's in the same run.
 *
 * @module
 */

import { type Precision, PRECISIONS } from "../../common/config/config.ts";
import { ActorCritic } from "../../common/policy/actor_critic.ts";
import { ParameterStore, type StoragePlan } from "../../common/policy/parameters.ts";
import { comparePolicies } from "../../common/policy/precision_gap.ts";
import { MATRIX_KINDS } from "../../common/quant/matrix_layout.ts";
import { seededRandom } from "../../common/random.ts";
import type { HostTensor, Observation } from "../../common/types.ts";
import { type BenchContext, collectEpisodes, loadBenchPolicy } from "./context.ts";
import { type Goal, type Measurement, summarize } from "./measurement.ts";

/** Chunks compared: with some 25,000 tokens, a share near 99 % is known to 0.06 points. */
const CHUNKS = 3072;
/** Chunks before any timing, in which JavaScript is still being compiled. */
const WARM_UPS = 20;

/** What the policy in 8 bits should reach; 4 bits are reported beside it. */
const GOALS = {
  kl: { kind: "at most", value: 0.002 },
  greedy: { kind: "at least", value: 99 },
} as const satisfies Record<string, Goal>;

/** Compare precisions on the checkpoint's own episodes, and time them in turns. */
export async function benchPrecision(context: BenchContext): Promise<Measurement[]> {
  const { config } = context;
  using owned = new DisposableStack();
  const own = (policy: ActorCritic) => owned.adopt(policy, (made) => made[Symbol.dispose]());
  const policies: ActorCritic[] = [];
  for (const precision of PRECISIONS) {
    const policy = await loadBenchPolicy({ ...context, config: { ...config, precision } });
    policies.push(own(policy));
  }
  const [reference, ...quantized] = policies;
  const observations = await recordObservations(context, reference);
  const measurements: Measurement[] = policies.map(({ network: { backbone } }) => ({
    name: `weights in ${backbone.precision}`,
    unit: "MB",
    p50: backbone.bytes / 1e6,
  }));
  for (const policy of quantized) {
    const { precision } = policy.network.backbone;
    const goals: Partial<typeof GOALS> = precision === "int8" ? GOALS : {};
    measurements.push(...await gapTo(context, reference, policy, observations, precision, goals));
  }
  const { quantized: kinds = MATRIX_KINDS } = reference.shape.variant;
  if (kinds.length < MATRIX_KINDS.length) {
    const every = own(await withEveryMatrix(reference, "int8"));
    const title = "int8, every matrix";
    measurements.push(...await gapTo(context, reference, every, observations, title, {}));
  }
  return [...measurements, ...await timeInTurns(context, policies, observations)];
}

/** What the float32 policy saw while it acted in held-out episodes. */
async function recordObservations(
  context: BenchContext,
  policy: ActorCritic,
): Promise<Observation[]> {
  const { episodes } = await collectEpisodes(context, policy, CHUNKS);
  return episodes.flat().slice(0, CHUNKS).map((chunk) => chunk.observation);
}

/** The policy with more of it quantised than its variant says. */
async function withEveryMatrix(policy: ActorCritic, precision: Precision): Promise<ActorCritic> {
  const { shape, assets, network: { backbone, valueHead } } = policy;
  const copy = async (store: ParameterStore, plan?: StoragePlan) => {
    const tensors = (await store.toHost()).map((t): [string, HostTensor] => [t.name, t]);
    return new ParameterStore(store.specs, new Map(tensors), plan);
  };
  const quantized = await copy(backbone, { precision, quantized: MATRIX_KINDS });
  return new ActorCritic(shape, assets, quantized, await copy(valueHead));
}

async function gapTo(
  { config, signal }: BenchContext,
  reference: ActorCritic,
  policy: ActorCritic,
  observations: readonly Observation[],
  title: string,
  goals: Partial<typeof GOALS>,
): Promise<Measurement[]> {
  const { temperature, seed } = config;
  const random = seededRandom(seed);
  const gap = await comparePolicies(policy, reference, observations, {
    temperature,
    random,
    signal,
  });
  const row = (name: string, unit: string, p50: number, goal?: Goal): Measurement => ({
    name: `${title}: ${name}`,
    unit,
    p50,
    goal,
  });
  return [
    row("tokens compared", "tokens", gap.tokens),
    row("|Δ log-prob| a token, mean", "nats", gap.meanLogProbGap),
    row("|Δ log-prob| a token, largest", "nats", gap.maxLogProbGap),
    row("|Δ log-prob| a chunk, mean", "nats", gap.meanChunkGap),
    row("KL to float32 a token, mean", "nats", gap.meanKl, goals.kl),
    row("KL to float32 a token, largest", "nats", gap.maxKl),
    row("greedy tokens equal", "%", 100 * gap.greedyShare, goals.greedy),
  ];
}

/** Chunks of each policy in turns, so that what else the machine does falls on all alike. */
async function timeInTurns(
  { config, repeats, signal }: BenchContext,
  policies: readonly ActorCritic[],
  observations: readonly Observation[],
): Promise<Measurement[]> {
  const msOf = policies.map((): number[] => []);
  const random = seededRandom(config.seed);
  for (let round = 0; round < repeats + WARM_UPS; round++) {
    signal.throwIfAborted();
    const seen = [observations[round % observations.length]];
    const { tokens } = (await policies[0].sampleActions(seen, { temperature: 0, random }))[0];
    for (const [i, policy] of policies.entries()) {
      const start = performance.now();
      const [chunk] = await policy.sampleActions(seen, { temperature: 0, random });
      const ms = performance.now() - start;
      // A chunk of another length says nothing about speed.
      if (round >= WARM_UPS && chunk.tokens.length === tokens.length) msOf[i].push(ms);
    }
  }
  return policies.flatMap(({ network }, i) =>
    msOf[i].length === 0
      ? []
      : [summarize(`greedy chunk in ${network.backbone.precision}`, "ms", msOf[i])]
  );
}
