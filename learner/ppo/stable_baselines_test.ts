/**
 * Compares with Stable-Baselines3 and PyTorch: the fixture that
 * `scripts/goldens/stable_baselines_goldens.py` wrote.
 *
 * @module
 */

import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { useDevice } from "../../common/policy/backend.ts";
import { seededRandom } from "../../common/random.ts";
import type { ChunkTransition } from "../../common/types.ts";
import { makeTransition } from "../testing.ts";
import { AdamState } from "./adam_state.ts";
import { computeGae } from "./gae.ts";
import { type LossInput, type LossOptions, ppoLosses } from "./loss.ts";
import { learningRateScale } from "./schedule.ts";

const BACKENDS = ["cpu", "wasm"] as const;
await useDevice("cpu");

type Row = readonly number[];

/** A robot's control steps, several episodes one after another. */
interface GaeCase {
  readonly gamma: number;
  readonly lambda: number;
  readonly rewards: Row;
  readonly values: Row;
  readonly ends: readonly ("" | "terminal" | "truncated")[];
  readonly finalValues: Row;
  readonly lastValue: number;
  readonly advantages: Row;
  readonly returns: Row;
}

interface Golden {
  readonly gae: readonly GaeCase[];
  readonly train: readonly {
    readonly clipRange: number;
    readonly entropyCoefficient: number;
    readonly valueCoefficient: number;
    readonly batch: Readonly<Record<string, Row>>;
    readonly logged: Readonly<Record<string, number>>;
    readonly gradients: Readonly<Record<"logProb" | "value" | "entropy", Row>>;
  }[];
  readonly losses: readonly {
    readonly options: LossOptions;
    readonly batch: Readonly<Record<string, Row>> & Readonly<Record<TokenColumn, readonly Row[]>>;
    readonly losses: Readonly<Record<"total" | "policy" | "value", number>>;
    readonly gradients: { readonly tokens: readonly Row[]; readonly value: Row };
  }[];
  readonly adamw: {
    readonly learningRate: number;
    readonly beta1: number;
    readonly beta2: number;
    readonly epsilon: number;
    readonly weightDecay: number;
    readonly scales: Row;
    readonly start: readonly [readonly Row[], Row];
    readonly gradients: readonly (readonly [readonly Row[], Row])[];
    readonly after: readonly (readonly [readonly Row[], Row])[];
  };
  readonly cosine: {
    readonly totalSteps: number;
    readonly finalFraction: number;
    readonly scales: Row;
  };
}

type TokenColumn = "tokens" | "proximalTokens" | "oldTokens" | "isToken";

const GOLDEN: Golden = JSON.parse(
  Deno.readTextFileSync(
    new URL("../../tests/fixtures/ppo/stable_baselines.json", import.meta.url),
  ),
);

function assertClose(actual: ArrayLike<number>, expected: Row, tolerance = 1e-5) {
  assert.equal(actual.length, expected.length);
  expected.forEach((x, i) =>
    assert.ok(
      Math.abs(actual[i] - x) <= tolerance * (1 + Math.abs(x)),
      `[${i}]: ${actual[i]} is not ${x}`,
    )
  );
}

/** Cut a robot's steps into chunks of given lengths, each episode on its own; where each one begins. */
function cutIntoChunks(golden: GaeCase, lengthAt: () => number) {
  const episodes: { chunks: ChunkTransition[]; starts: number[] }[] = [];
  let isNew = true;
  for (let start = 0; start < golden.rewards.length;) {
    const rest = golden.ends.findIndex((end, t) => t >= start && end !== "");
    const episodeEnd = rest < 0 ? golden.rewards.length : rest + 1;
    const end = Math.min(start + lengthAt(), episodeEnd);
    const last = golden.ends[end - 1];
    if (isNew) episodes.push({ chunks: [], starts: [] });
    const { chunks, starts } = episodes[episodes.length - 1];
    const rewards = golden.rewards.slice(start, end);
    chunks.push({
      ...makeTransition({
        episodeId: `episode-${episodes.length}`,
        chunkIndex: chunks.length,
        value: golden.values[start],
        reward: rewards.reduce((a, b) => a + b, 0),
        stepsExecuted: rewards.length,
        isTerminal: last === "terminal",
        isTruncated: last === "truncated",
        finalValue: golden.finalValues[end - 1],
      }),
      stepRewards: Float32Array.from(rewards),
    });
    starts.push(start);
    isNew = last !== "";
    start = end;
  }
  return episodes;
}

Deno.test("computeGae() of one-step chunks agrees with Stable-Baselines3, time limits included", () => {
  const kinds = new Set(GOLDEN.gae.flatMap((c) => c.ends));
  assert.equal(kinds.size, 3);
  for (const golden of GOLDEN.gae) {
    for (const discounting of ["step", "chunk"] as const) {
      const { gamma, lambda, lastValue: nextValue } = golden;
      const found = cutIntoChunks(golden, () => 1).flatMap(({ chunks }) =>
        computeGae(chunks, { gamma, lambda, nextValue, discounting })
      );
      assertClose(found.map((e) => e.advantage), golden.advantages, 1e-9);
      assertClose(found.map((e) => e.valueTarget), golden.returns, 1e-9);
    }
  }
});

Deno.test("computeGae() of chunks of any length agrees with Stable-Baselines3's returns a step", () => {
  // With λ = 1 a chunk's target is the return of its first step, however steps are cut into chunks.
  const random = seededRandom(4);
  const cases = GOLDEN.gae.filter((c) => c.lambda === 1);
  assert.ok(cases.length >= 6);
  for (const golden of cases) {
    const { gamma, lambda, lastValue: nextValue } = golden;
    const episodes = cutIntoChunks(golden, () => 1 + Math.floor(5 * random()));
    assert.ok(episodes.some(({ chunks }) => chunks.some((c) => c.stepsExecuted > 1)));
    for (const { chunks, starts } of episodes) {
      const found = computeGae(chunks, { gamma, lambda, nextValue, discounting: "step" });
      assertClose(found.map((e) => e.valueTarget), starts.map((t) => golden.returns[t]), 1e-9);
      assertClose(found.map((e) => e.advantage), starts.map((t) => golden.advantages[t]), 1e-9);
    }
  }
});

const column = (values: Row) => tf.tensor1d([...values]);
const matrix = (rows: readonly Row[]) => tf.tensor2d(rows.map((row) => [...row]));

Deno.test("ppoLosses() and its gradients agree with Stable-Baselines3's PPO.train()", () => {
  for (const { batch, logged, gradients, ...settings } of GOLDEN.train) {
    tf.tidy(() => {
      // It means squared errors without the ½.
      const options: LossOptions = {
        clipRange: settings.clipRange,
        valueClipRange: 0,
        valueLossWeight: 2 * settings.valueCoefficient,
        entropyWeight: settings.entropyCoefficient,
      };
      const input = Object.fromEntries(
        Object.entries(batch).map(([name, values]) => [name, column(values)]),
      ) as unknown as LossInput;
      const found = ppoLosses(input, options);
      const expected = {
        total: logged.loss,
        policy: logged.policy_gradient_loss,
        value: logged.value_loss / 2,
        entropy: -logged.entropy_loss,
        approxKl: logged.approx_kl,
        clipFraction: logged.clip_fraction,
      };
      for (const [name, value] of Object.entries(expected)) {
        assertClose(found[name as keyof typeof expected].dataSync(), [value]);
      }
      const names = ["logProb", "value", "entropy"] as const;
      const by = tf.grads((...columns: tf.Tensor[]) => {
        const changed = Object.fromEntries(names.map((name, i) => [name, columns[i]]));
        return ppoLosses({ ...input, ...changed }, options).total;
      });
      by(names.map((name) => input[name])).forEach((gradient, i) =>
        assertClose(gradient.dataSync(), gradients[names[i]])
      );
    });
  }
});

/** Losses and gradients of every batch, against PyTorch's. */
function checkLosses() {
  for (const { options, batch, losses, gradients } of GOLDEN.losses) {
    tf.tidy(() => {
      const isDecoupled = options.tokenWeightCap !== undefined;
      const isToken = matrix(batch.isToken);
      const sum = (x: tf.Tensor) => tf.sum(x, 1) as tf.Tensor1D;
      const oldLogProb = matrix(batch.oldTokens);
      const proximalLogProb = isDecoupled ? matrix(batch.proximalTokens) : undefined;
      const inputOf = (tokens: tf.Tensor, value: tf.Tensor): LossInput => ({
        logProb: sum(tokens),
        entropy: column(batch.entropy),
        value: value as tf.Tensor1D,
        oldLogProb: sum(oldLogProb),
        oldValue: column(batch.oldValue),
        advantage: column(batch.advantage),
        valueTarget: column(batch.valueTarget),
        proximalLogProb: proximalLogProb && sum(proximalLogProb),
        tokens: { logProb: tokens as tf.Tensor2D, oldLogProb, proximalLogProb, isToken },
      });
      const [tokens, value] = [matrix(batch.tokens), column(batch.value)];
      const found = ppoLosses(inputOf(tokens, value), options);
      for (const name of ["total", "policy", "value"] as const) {
        assertClose(found[name].dataSync(), [losses[name]]);
      }
      const by = tf.grads((x: tf.Tensor, v: tf.Tensor) => ppoLosses(inputOf(x, v), options).total);
      const [byTokens, byValue] = by([tokens, value]);
      assertClose(tf.mul(byTokens, isToken).dataSync(), tokenGradients(gradients.tokens, batch));
      assertClose(byValue.dataSync(), gradients.value);
    });
  }
}

for (const backend of BACKENDS) {
  Deno.test(`ppoLosses() of tokens, clipped twice, decoupled, by Huber is PyTorch's on ${backend}`, async () => {
    await useDevice(backend);
    try {
      checkLosses();
    } finally {
      await useDevice("cpu");
    }
  });
}

/** PyTorch's gradients, without those of places where a row has no token. */
function tokenGradients(rows: readonly Row[], { isToken }: { readonly isToken: readonly Row[] }) {
  return rows.flatMap((row, b) => row.map((g, s) => g * isToken[b][s]));
}

Deno.test("AdamState with weight decay takes the steps of torch.optim.AdamW", async () => {
  const golden = GOLDEN.adamw;
  const [weights, bias] = tf.tidy(() => [
    tf.variable(matrix(golden.start[0])),
    tf.variable(column(golden.start[1])),
  ]);
  using adam = new AdamState(
    {
      learningRate: golden.learningRate,
      valueLearningRate: 1,
      adamBeta1: golden.beta1,
      adamBeta2: golden.beta2,
      adamEpsilon: golden.epsilon,
      weightDecay: golden.weightDecay,
    },
    [weights, bias],
    [],
  );
  for (const [t, [byWeights, byBias]] of golden.gradients.entries()) {
    adam.learningRateScale = golden.scales[t];
    const gradients = { [weights.name]: matrix(byWeights), [bias.name]: column(byBias) };
    adam.apply(gradients);
    tf.dispose(gradients);
    assertClose(await weights.data(), golden.after[t][0].flat());
    assertClose(await bias.data(), golden.after[t][1]);
  }
  tf.dispose([weights, bias]);
});

Deno.test("AdamState with a weight decay of 0 is Adam bit for bit, and refuses one below 0", async () => {
  const options = {
    learningRate: 0.1,
    valueLearningRate: 0.1,
    adamBeta1: 0.9,
    adamBeta2: 0.95,
    adamEpsilon: 1e-8,
  };
  const run = async (changes: { weightDecay?: number }) => {
    const weights = tf.tidy(() => tf.variable(matrix([[1, -2], [0.3, 4]])));
    using adam = new AdamState({ ...options, ...changes }, [weights], []);
    for (let t = 0; t < 3; t++) {
      const gradient = matrix([[t, 0.1], [-1, 3]]);
      adam.apply({ [weights.name]: gradient });
      gradient.dispose();
    }
    const values = [...await weights.data()];
    weights.dispose();
    return values;
  };
  assert.deepEqual(await run({ weightDecay: 0 }), await run({}));
  assert.notDeepEqual(await run({ weightDecay: 0.1 }), await run({}));
  assert.throws(
    () => new AdamState({ ...options, weightDecay: -1 }, [], []),
    /RangeError: .*weight decay is -1/,
  );
});

Deno.test("learningRateScale() by cosine agrees with PyTorch's CosineAnnealingLR", () => {
  const { scales, ...settings } = GOLDEN.cosine;
  const found = scales.map((_, step) => learningRateScale(step, { ...settings, decay: "cosine" }));
  assertClose(found, scales, 1e-9);
});
