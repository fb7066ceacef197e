import assert from "node:assert/strict";
import { paddedColumns } from "../packed_rows.ts";
import { referenceAttention, relativeError } from "../reference.ts";
import {
  download,
  hasAdapter,
  noise,
  openTestGpu,
  runKernel,
  stateWords,
  type TestGpu,
  upload,
} from "../testing.ts";
import { attendCombineKernel, COMBINE_THREADS } from "./attend_combine.ts";
import { attendPrefixKernel, PREFIX_ROWS } from "./attend_prefix.ts";
import { attendSplitKernel, SPLIT_KEYS } from "./attend_split.ts";
import type { AttentionSize } from "./epilogues.ts";

const ignore = !await hasAdapter();
const TOLERANCE = 2e-3;

/** The real model's heads, and ones that fill no workgroup. */
const SIZES = [{ heads: 8, headDim: 256 }, { heads: 1, headDim: 4 }, { heads: 5, headDim: 12 }];

/** Places of every cache here, more than any sequence has: one kernel a size. */
const CAPACITY = 135;

interface Sequence extends AttentionSize {
  readonly q: Float32Array;
  readonly cache: Float32Array;
  readonly isSeen: readonly boolean[];
  readonly tokens: number;
  readonly prefix: number;
}

function makeSequence(
  size: Pick<AttentionSize, "heads" | "headDim">,
  { tokens, prefix, hidden }: { tokens: number; prefix: number; hidden: readonly number[] },
): Sequence {
  const { heads, headDim } = size;
  return {
    ...size,
    capacity: CAPACITY,
    // Scores of a few units, so that the softmax is neither flat nor a choice.
    q: noise(1, tokens * heads * headDim).map((x) => 3 * x),
    cache: noise(2, 2 * CAPACITY * headDim),
    isSeen: Array.from({ length: CAPACITY }, (_, t) => !hidden.includes(t)),
    tokens,
    prefix,
  };
}

function expected(s: Sequence, token: number, lastKey: number): number[] {
  const { heads, headDim, capacity, q, cache } = s;
  return Array.from({ length: heads }, (_, head) => [
    ...referenceAttention(
      q.subarray((token * heads + head) * headDim, (token * heads + head + 1) * headDim),
      cache.subarray(0, capacity * headDim),
      cache.subarray(capacity * headDim),
      (t) => t <= lastKey && s.isSeen[t],
    ),
  ]).flat();
}

function bind(gpu: TestGpu, { tokens, prefix, isSeen, cache }: Sequence) {
  const places = [tokens, prefix, 0, 0, ...isSeen.flatMap((seen, t) => [t, Number(seen)])];
  return { places: upload(gpu, Uint32Array.from(places)), cache: upload(gpu, cache) };
}

Deno.test({
  name: "attendSplitKernel() and attendCombineKernel() attend to what a token sees",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    // One key, a full run, a run and one, many runs, one of which nobody sees.
    const runOfHidden = Array.from({ length: SPLIT_KEYS }, (_, i) => SPLIT_KEYS + i);
    const cases = [
      { tokens: 1, hidden: [] },
      { tokens: 32, hidden: [0, 31] },
      { tokens: 33, hidden: [5] },
      { tokens: 131, hidden: runOfHidden },
    ];
    for (const size of SIZES) {
      for (const { tokens, hidden } of cases) {
        const s = makeSequence(size, {
          tokens,
          prefix: tokens,
          hidden: hidden.filter((t) => t < tokens - 1),
        });
        const { heads, headDim, q } = s;
        const splits = Math.ceil(tokens / SPLIT_KEYS);
        const count = heads * headDim;
        const partial = gpu.buffers.storage("partial", 4 * splits * count);
        const stats = gpu.buffers.storage("stats", 8 * splits * heads);
        const attended = gpu.buffers.storage("attended", 4 * count);
        const state = gpu.buffers.uniform("state", stateWords(tokens - 1));
        const last = upload(gpu, q.slice((tokens - 1) * count));
        const split = { ...bind(gpu, s), state, q: last, partial, stats };
        await runKernel(gpu, attendSplitKernel(s), split, splits);
        const combine = { state, partial, stats, attended };
        const groups = Math.ceil(count / 4 / COMBINE_THREADS);
        await runKernel(gpu, attendCombineKernel(s), combine, groups);
        const out = new Float32Array(await download(gpu, attended)).slice(0, count);
        const error = relativeError(out, expected(s, tokens - 1, tokens - 1));
        assert.ok(error < TOLERANCE, `${heads} × ${headDim}, ${tokens} keys: ${error}`);
      }
    }
  },
});

Deno.test({
  name: "attendPrefixKernel() follows the prefix-LM mask and looks past hidden places",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const cases = [
      { tokens: 1, prefix: 1, hidden: [] },
      { tokens: 40, prefix: 33, hidden: [0, 1, 7] },
      { tokens: 37, prefix: 5, hidden: [] },
      { tokens: 70, prefix: 70, hidden: Array.from({ length: 33 }, (_, i) => i) },
    ];
    for (const size of SIZES) {
      for (const shape of cases) {
        const s = makeSequence(size, shape);
        const { heads, headDim, tokens, prefix } = s;
        const stride = paddedColumns(heads * headDim);
        const attended = gpu.buffers.storage("attended", 4 * tokens * stride);
        const bound = { ...bind(gpu, s), q: upload(gpu, s.q), attended };
        const groups = Math.ceil(tokens * heads / PREFIX_ROWS);
        await runKernel(gpu, attendPrefixKernel(s), bound, groups);
        const out = new Float32Array(await download(gpu, attended));
        for (let t = 0; t < tokens; t++) {
          const row = out.subarray(t * stride, t * stride + heads * headDim);
          const error = relativeError(row, expected(s, t, t < prefix ? prefix - 1 : t));
          assert.ok(error < TOLERANCE, `${heads} × ${headDim}, token ${t} of ${tokens}: ${error}`);
        }
      }
    }
  },
});
