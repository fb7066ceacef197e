/**
 * How long a chunk of actions takes to become FAST tokens and actions again, beside the libraries of
 * FAST's own processor where Python has them.
 * @module
 */

import { fileURLToPath } from "node:url";
import { consoleLogger } from "../../common/cli/logger.ts";
import { seededRandom } from "../../common/random.ts";
import { FastTokenizer } from "../../common/tokenizer/fast.ts";
import { type BenchContext, loadBenchPolicy, startObservations } from "./context.ts";
import { type ChunkSet, missingPython, runFastReference } from "./fast_reference.ts";
import { type Measurement, summarize, timeRounds } from "./measurement.ts";

/** Different chunks, so that no branch is always the same. */
const CHUNKS = 16;

/** A 16×14 chunk covers 320 ms of motion; its tokens should cost next to nothing. */
const GOAL = { kind: "at most", value: 100 } as const;

/** Rounds before the first timing, so that JavaScript is compiled. */
const WARM_UPS = 20;

/** Recorded chunks of the simulated robot, 40 of each task, which the tests tokenize too. */
const RECORDED = new URL("../../tests/fixtures/tokenizer/recorded.json", import.meta.url);

/** Of the tokenizer fitted on them: large enough for every merge that occurs twice. */
const VOCAB_SIZE = 1024;

/** Time both directions on chunks that the policy sampled and on recorded chunks of 16×14. */
export async function benchTokenizer(context: BenchContext): Promise<Measurement[]> {
  return [...await benchSampled(context), ...await benchRecorded(context)];
}

async function benchSampled(context: BenchContext): Promise<Measurement[]> {
  const { config } = context;
  using policy = await loadBenchPolicy(context);
  const { horizon, actionDim } = policy.shape;
  const sampled = await policy.sampleActions(
    await startObservations(context, policy, CHUNKS),
    { temperature: config.temperature, random: seededRandom(config.seed) },
  );
  const chunks = sampled.map(({ actions }) => actions);
  const { fast } = policy.assets;
  return [
    ...await timeDirections(context, fast, { horizon, actionDim, chunks }, "sampled"),
    {
      name: "tokens a chunk (mean)",
      unit: "tokens",
      p50: sampled.reduce((n, c) => n + c.tokens.length, 0) / CHUNKS,
    },
  ];
}

async function benchRecorded(context: BenchContext): Promise<Measurement[]> {
  const set = readRecorded();
  const { horizon, actionDim, chunks } = set;
  const tokenizer = FastTokenizer.fit(chunks, { vocabSize: VOCAB_SIZE, horizon, actionDim });
  const ours = await timeDirections(context, tokenizer, set, "recorded", GOAL);
  const missing = await missingPython();
  if (missing) {
    consoleLogger().info(`the Python reference of FAST is not at hand: ${missing}`);
    return ours;
  }
  const python = await runFastReference(tokenizer, set, context.repeats);
  return [
    ...ours,
    summarize(`encode ${horizon}×${actionDim} recorded, Python`, "µs", python.encodeUs),
    summarize(`decode ${horizon}×${actionDim} recorded, Python`, "µs", python.decodeUs),
  ];
}

async function timeDirections(
  { repeats, signal }: BenchContext,
  tokenizer: FastTokenizer,
  { horizon, actionDim, chunks }: ChunkSet,
  what: string,
  goal?: Measurement["goal"],
): Promise<Measurement[]> {
  const ids = chunks.map((chunk) => tokenizer.encode(chunk, horizon, actionDim));
  const time = async (round: () => void) => {
    for (let i = 0; i < WARM_UPS; i++) round();
    const ms = await timeRounds(repeats, signal, round);
    return ms.map((one) => 1000 * one / chunks.length);
  };
  const encode = () => chunks.forEach((chunk) => tokenizer.encode(chunk, horizon, actionDim));
  const decode = () => ids.forEach((row) => tokenizer.decode(row, horizon, actionDim));
  const name = `${horizon}×${actionDim} ${what}`;
  return [
    summarize(`encode ${name}`, "µs", await time(encode), goal),
    summarize(`decode ${name}`, "µs", await time(decode), goal),
  ];
}

function readRecorded(): ChunkSet {
  const { horizon, actionDim, float32 } = JSON.parse(
    Deno.readTextFileSync(fileURLToPath(RECORDED)),
  ) as { horizon: number; actionDim: number; float32: string[] };
  const chunks = float32.map((text) => new Float32Array(Uint8Array.fromBase64(text).buffer));
  return { horizon, actionDim, chunks };
}
