import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { normal, seededRandom } from "../../common/random.ts";
import type { NamedTensorMap, Scalar, Variable } from "../../common/policy/tensors.ts";
import { accumulatedGradients, clippedGradients } from "./gradients.ts";
import { type BatchCounts, type LossInput, type LossOptions, ppoLosses } from "./loss.ts";

await tf.setBackend("cpu");

const SIZE = 12, TOKENS = 5, FEATURES = 4;
const OPTIONS: LossOptions = {
  clipRange: 0.2,
  valueClipRange: 0.5,
  valueLossWeight: 0.5,
  entropyWeight: 0.01,
  chunkWeightCap: 2,
  tokenWeightCap: 1.5,
};

/** A batch on the host: rows of features, and columns by name. */
function makeBatch(seed: number) {
  const random = seededRandom(seed);
  const column = (scale: number, shift = 0) =>
    Array.from({ length: SIZE }, () => shift + scale * normal(random));
  const tokens = (scale: number, shift: number) =>
    Array.from(
      { length: SIZE },
      (_, b) =>
        Array.from({ length: TOKENS }, (_, s) => (s <= b % TOKENS ? shift + scale * random() : 0)),
    );
  return {
    features: Array.from({ length: SIZE }, () => Array.from({ length: FEATURES }, () => random())),
    oldValue: column(1),
    advantage: column(1),
    valueTarget: column(1),
    oldTokens: tokens(0.3, -1),
    proximalTokens: tokens(0.3, -1),
    isToken: tokens(0, 1),
    isPolicyDriven: Array.from({ length: SIZE }, (_, b) => (b % 4 === 1 ? 0 : 1)),
  };
}

type Batch = ReturnType<typeof makeBatch>;

/** A small policy and critic: one matrix for token log-probabilities, one for values. */
function makeVariables(): Variable[] {
  const random = seededRandom(3);
  const draw = (columns: number) =>
    tf.tidy(() =>
      tf.variable(
        tf.tensor2d(
          Array.from({ length: FEATURES * columns }, () => 0.3 * normal(random)),
          [FEATURES, columns],
        ),
      )
    );
  return [draw(TOKENS), draw(1)];
}

/** The loss of some rows. */
function lossOf(
  batch: Batch,
  rows: readonly number[],
  [policy, critic]: readonly Variable[],
  ratio: "chunk" | "token",
  counts?: BatchCounts,
): Scalar {
  const pick = (name: "oldValue" | "advantage" | "valueTarget" | "isPolicyDriven") =>
    tf.tensor1d(rows.map((i) => batch[name][i]));
  const pick2 = (name: "features" | "oldTokens" | "proximalTokens" | "isToken") =>
    tf.tensor2d(rows.map((i) => batch[name][i]));
  const x = pick2("features");
  const isToken = pick2("isToken");
  const logProb = tf.mul(tf.neg(tf.exp(tf.matMul(x, policy as tf.Tensor2D))), isToken);
  const [oldLogProb, proximalLogProb] = [pick2("oldTokens"), pick2("proximalTokens")];
  const sum = (t: tf.Tensor) => tf.sum(t, 1) as tf.Tensor1D;
  const input: LossInput = {
    logProb: sum(logProb),
    entropy: tf.neg(tf.mean(logProb, 1)) as tf.Tensor1D,
    value: tf.reshape(tf.matMul(x, critic as tf.Tensor2D), [-1]) as tf.Tensor1D,
    oldLogProb: sum(oldLogProb),
    oldValue: pick("oldValue"),
    advantage: pick("advantage"),
    valueTarget: pick("valueTarget"),
    proximalLogProb: sum(proximalLogProb),
    isPolicyDriven: pick("isPolicyDriven"),
    tokens: { logProb: logProb as tf.Tensor2D, oldLogProb, proximalLogProb, isToken },
    counts,
  };
  return ppoLosses(input, { ...OPTIONS, ratio }).total;
}

async function flatten(gradients: NamedTensorMap): Promise<number[]> {
  const lists = await Promise.all(Object.values(gradients).map((g) => g.data()));
  return lists.flatMap((list) => [...list]);
}

function assertClose(actual: readonly number[], expected: readonly number[], tolerance: number) {
  assert.equal(actual.length, expected.length);
  actual.forEach((x, i) =>
    assert.ok(
      Math.abs(x - expected[i]) <= tolerance * (1 + Math.abs(expected[i])),
      `[${i}]: ${x} is not ${expected[i]}`,
    )
  );
}

const ALL = Array.from({ length: SIZE }, (_, i) => i);
/** Parts of unlike sizes. */
const PARTS = [ALL.slice(0, 5), ALL.slice(5, 6), ALL.slice(6, 12)];

for (const ratio of ["chunk", "token"] as const) {
  Deno.test(`accumulatedGradients() of micro-batches is the batch's, ratio a ${ratio}`, async () => {
    const batch = makeBatch(1);
    const variables = makeVariables();
    const isDriven = (i: number) => batch.isPolicyDriven[i] === 1;
    const counts = {
      chunks: SIZE,
      policyChunks: ALL.filter(isDriven).length,
      policyTokens: ALL.filter(isDriven).reduce((n, i) => n + 1 + i % TOKENS, 0),
    };
    for (const maxNorm of [1e9, 0.05]) {
      const whole = await clippedGradients(
        () => lossOf(batch, ALL, variables, ratio),
        variables,
        maxNorm,
      );
      const before = tf.memory().numTensors;
      const parts = await accumulatedGradients(
        PARTS.map((rows) => ({
          loss: () => lossOf(batch, rows, variables, ratio, counts),
          share: 1,
        })),
        variables,
        maxNorm,
      );
      assert.equal(tf.memory().numTensors, before + variables.length);
      assertClose([parts.loss, parts.norm], [whole.loss, whole.norm], 1e-5);
      assertClose(await flatten(parts.gradients), await flatten(whole.gradients), 1e-5);
      tf.dispose([whole.gradients, parts.gradients]);
    }
    tf.dispose(variables);
  });
}

Deno.test("accumulatedGradients() weighs means over the parts by their shares", async () => {
  const x = tf.tidy(() => tf.variable(tf.tensor1d([1, -2, 3, 0.5, 4])));
  const mean = (rows: readonly number[]) => () =>
    tf.mean(tf.square(tf.gather(x, tf.tensor1d([...rows], "int32")))) as Scalar;
  const parts = [[0, 1, 2], [3], [4]];
  const whole = await clippedGradients(mean([0, 1, 2, 3, 4]), [x], 1e9);
  const summed = await accumulatedGradients(
    parts.map((rows) => ({ loss: mean(rows), share: rows.length / 5 })),
    [x],
    1e9,
  );
  assertClose([summed.loss], [whole.loss], 1e-6);
  assertClose(await flatten(summed.gradients), await flatten(whole.gradients), 1e-6);
  tf.dispose([whole.gradients, summed.gradients, x]);
});

Deno.test("accumulatedGradients() shows a part that is not finite in loss and norm", async () => {
  const x = tf.tidy(() => tf.variable(tf.tensor1d([1, 2])));
  const good = { loss: () => tf.sum(tf.square(x)) as Scalar, share: 0.5 };
  const bad = { loss: () => tf.sum(tf.log(tf.sub(x, 5))) as Scalar, share: 0.5 };
  const { loss, gradients } = await accumulatedGradients([good, bad, good], [x], 1);
  assert.ok(Number.isNaN(loss));
  tf.dispose([gradients, x]);
});

Deno.test("accumulatedGradients() refuses a batch without parts", async () => {
  await assert.rejects(() => accumulatedGradients([], [], 1), /RangeError: .*no micro-batch/);
});
