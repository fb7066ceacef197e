/**
 * How long one PPO update takes on real chunks, and where that time goes.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Config } from "../../common/config/config.ts";
import { seededRandom } from "../../common/random.ts";
import type { ChunkTransition } from "../../common/types.ts";
import { computeGae, type Estimate } from "../../learner/ppo/gae.ts";
import { PpoTrainer, type UpdateMetrics } from "../../learner/ppo/update.ts";
import { type BenchContext, collectEpisodes, loadBenchPolicy } from "./context.ts";
import { type Measurement, summarize } from "./measurement.ts";

/** Kernels that are listed by name; the rest is one line. */
const LISTED_KERNELS = 8;
/** An update takes seconds: fewer of them stand behind its median. */
const REPEATS_PER_UPDATE = 10;

/** Advantages along whole episodes, cut to so many chunks. */
export function estimateEpisodes(
  episodes: readonly (readonly ChunkTransition[])[],
  config: Pick<Config, "gamma" | "gaeLambda">,
  chunks: number,
): Estimate[] {
  return episodes
    .flatMap((e) => computeGae(e, { gamma: config.gamma, lambda: config.gaeLambda }))
    .slice(0, chunks);
}

/** Time collecting and updating as the configuration has them. */
export async function benchLearner(context: BenchContext): Promise<Measurement[]> {
  const { config, repeats, signal } = context;
  using policy = await loadBenchPolicy(context);
  const { episodes, times } = await collectEpisodes(context, policy, config.chunksPerUpdate);
  const estimates = estimateEpisodes(episodes, config, config.chunksPerUpdate);
  // No early stop: the same work each time.
  const options = { ...config, targetKl: 0, klWeight: 0 };
  const random = seededRandom(config.seed);

  const updates: { ms: number; metrics: UpdateMetrics }[] = [];
  using trainer = new PpoTrainer(policy, options);
  using warmUp = new PpoTrainer(policy, { ...options, epochs: 1 });
  await warmUp.update(estimates.slice(0, config.batchSize), random);
  for (let i = 0; i < Math.max(1, Math.round(repeats / REPEATS_PER_UPDATE)); i++) {
    signal.throwIfAborted();
    const start = performance.now();
    const metrics = await trainer.update(estimates, random);
    updates.push({ ms: performance.now() - start, metrics });
  }
  const kernels = await profileKernels(() =>
    warmUp.update(estimates.slice(0, config.batchSize), random)
  );

  const { chunksPerUpdate, epochs, batchSize } = config;
  const collected = episodes.reduce((n, episode) => n + episode.length, 0);
  const steps = Math.ceil(chunksPerUpdate / batchSize) * epochs;
  const part = (pick: (m: UpdateMetrics) => number) => updates.map((u) => pick(u.metrics));
  return [
    summarize(
      `update, ${chunksPerUpdate} chunks × ${epochs} epochs, batch ${batchSize}`,
      "ms",
      updates.map((u) => u.ms),
    ),
    summarize("  prepare (text, masks)", "ms", part((m) => m.prepareMs)),
    summarize("  gradients", "ms", part((m) => m.gradientMs)),
    summarize("  optimizer", "ms", part((m) => m.optimizerMs)),
    summarize("  one gradient step", "ms", part((m) => m.gradientMs / steps)),
    {
      ...summarize(
        "chunks updated on",
        "chunks/s",
        updates.map((u) => chunksPerUpdate * 1e3 / u.ms),
      ),
      p90: undefined,
    },
    ...kernelRows(kernels, batchSize),
    {
      name: `collecting a chunk with ${config.numEnvs} robots (mean)`,
      unit: "ms",
      p50: (times.inferMs + times.executeMs + times.observeMs) / collected,
    },
    { name: "  collecting, policy (mean)", unit: "ms", p50: times.inferMs / collected },
    { name: "  collecting, physics (mean)", unit: "ms", p50: times.executeMs / collected },
    { name: "  collecting, cameras (mean)", unit: "ms", p50: times.observeMs / collected },
  ];
}

/** A kernel's share of the profiled work. */
export interface KernelTime {
  /** tfjs's name. */
  readonly name: string;
  /** Milliseconds in it. */
  readonly ms: number;
  /** Times that it ran. */
  readonly calls: number;
}

/** Time every tfjs kernel of some work; the slowest first. */
async function profileKernels(work: () => Promise<unknown>): Promise<KernelTime[]> {
  // The profiler would otherwise read every output back to look for NaN.
  const flag = "CHECK_COMPUTATION_FOR_ERRORS";
  const before = tf.env().getBool(flag);
  tf.env().set(flag, false);
  try {
    // tf.profile wants its work to give a tensor.
    const { kernels } = await tf.profile(async () => {
      await work();
      return tf.scalar(0);
    });
    const timed = await Promise.all(
      kernels.map(async ({ name, kernelTimeMs }) => ({ name, ms: Number(await kernelTimeMs) })),
    );
    return sumByName(timed);
  } finally {
    tf.env().set(flag, before);
  }
}

/** Sum calls of the same kernel; the slowest first. */
export function sumByName(
  calls: readonly { readonly name: string; readonly ms: number }[],
): KernelTime[] {
  const byName = new Map<string, KernelTime>();
  for (const { name, ms } of calls) {
    const sum = byName.get(name) ?? { name, ms: 0, calls: 0 };
    byName.set(name, { name, ms: sum.ms + ms, calls: sum.calls + 1 });
  }
  return [...byName.values()].sort((a, b) => b.ms - a.ms);
}

function kernelRows(kernels: readonly KernelTime[], batchSize: number): Measurement[] {
  const total = kernels.reduce((sum, kernel) => sum + kernel.ms, 0);
  const rest = kernels.slice(LISTED_KERNELS).reduce((sum, kernel) => sum + kernel.ms, 0);
  const share = (ms: number) => `${Math.round(100 * ms / total)} %`;
  return [
    { name: `kernels of one step of ${batchSize} chunks, profiled`, unit: "ms", p50: total },
    ...kernels.slice(0, LISTED_KERNELS).map(({ name, ms, calls }) => ({
      name: `  ${name}, ${calls} calls, ${share(ms)}`,
      unit: "ms",
      p50: ms,
    })),
    { name: `  all others, ${share(rest)}`, unit: "ms", p50: rest },
  ];
}
