/**
 * How fast a large checkpoint becomes 8-bit weights, and how much memory that takes.
 *
 * A synthetic checkpoint and a second one of the same size are written. Between any two timings of the
 * first the second is read, so that less of the first is left in the file cache; how much is depends on
 * the machine's memory, and at a small `--load-scale` all of it is. The read speed that is shown beside
 * is measured on the same file in the same state.
 *
 * @module
 */

import { checkTensors } from "../../common/checkpoint/check_tensors.ts";
import { openTensorSource } from "../../common/checkpoint/open_source.ts";
import { planBackbone } from "../../common/checkpoint/recognise.ts";
import { loadQuantizedInThreads } from "../../common/quant/load_quantized_threads.ts";
import { quantizedBytes } from "../../common/quant/quantized_tensor.ts";
import { ProgressBar } from "../checkpoint/progress_bar.ts";
import type { BenchContext } from "./context.ts";
import {
  readSpeed,
  scaledVariant,
  tensorShapes,
  writeSyntheticCheckpoint,
} from "./load_fixture.ts";
import type { Measurement } from "./measurement.ts";

/** What the load should reach, at full size. */
const GOAL_MB_PER_SECOND = 400;
const GOAL_PEAK_RATIO = 1.3;

interface LoadOutcome {
  readonly seconds: number;
  readonly int8Bytes: number;
  /** Greatest resident size of the whole process while loading. */
  readonly peakBytes: number;
  /** Resident size before. */
  readonly baseBytes: number;
}

async function timeLoad(
  dir: string,
  scale: number,
  signal: AbortSignal,
): Promise<LoadOutcome> {
  const variant = scaledVariant(scale);
  const baseBytes = Deno.memoryUsage().rss;
  let peakBytes = baseBytes;
  const start = performance.now();
  using source = await openTensorSource(dir);
  const plan = planBackbone(source, variant, tensorShapes(variant));
  checkTensors(plan.wanted, plan.found, dir, source.skipped);
  using bar = new ProgressBar("loading");
  const { matrices, floats } = await loadQuantizedInThreads(dir, plan.mapped, { bits: 8 }, {
    onProgress: ({ done, total, residentBytes }) => {
      signal.throwIfAborted();
      peakBytes = Math.max(peakBytes, residentBytes);
      bar.update(4 * done, 4 * total);
    },
  });
  peakBytes = Math.max(peakBytes, Deno.memoryUsage().rss);
  const seconds = (performance.now() - start) / 1000;
  const sum = (sizes: Iterable<number>) => [...sizes].reduce((a, b) => a + b, 0);
  return {
    seconds,
    peakBytes,
    baseBytes,
    int8Bytes: sum([...matrices.values()].map(quantizedBytes)) +
      sum([...floats.values()].map(({ data }) => data.byteLength)),
  };
}

/** Time the load of a synthetic checkpoint. */
export async function benchLoad({ loadScale, signal }: BenchContext): Promise<Measurement[]> {
  const scale = loadScale ?? 1;
  const isFull = scale === 1;
  const folder = await Deno.makeTempDir({ prefix: "tendon_bench_load_" });
  try {
    const [dir, other] = [`${folder}/checkpoint`, `${folder}/other`];
    await Deno.mkdir(dir);
    await Deno.mkdir(other);
    const shapes = tensorShapes(scaledVariant(scale));
    const written = await writeSyntheticCheckpoint(dir, shapes, signal);
    const between = await writeSyntheticCheckpoint(other, shapes, signal);
    const disk = await readSpeed(written.files, signal);
    await readSpeed(between.files, signal);
    const loaded = await timeLoad(dir, scale, signal);
    const ratio = loaded.peakBytes / loaded.int8Bytes;
    return [
      { name: "float32 input", unit: "MB", p50: written.bytes / 1e6 },
      { name: "int8 weights", unit: "MB", p50: loaded.int8Bytes / 1e6 },
      {
        name: "load into int8",
        unit: "MB/s",
        p50: written.bytes / 1e6 / loaded.seconds,
        ...(isFull ? { goal: { kind: "at least", value: GOAL_MB_PER_SECOND } as const } : {}),
      },
      { name: "reading the same files alone", unit: "MB/s", p50: disk },
      {
        name: "peak of the process / int8 weights",
        unit: "×",
        p50: ratio,
        ...(isFull ? { goal: { kind: "at most", value: GOAL_PEAK_RATIO } as const } : {}),
      },
      { name: "process before loading", unit: "MB", p50: loaded.baseBytes / 1e6 },
    ];
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
