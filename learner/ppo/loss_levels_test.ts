import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { type LossInput, type LossOptions, ppoLosses } from "./loss.ts";

await tf.setBackend("cpu");

function assertClose(actual: readonly number[], expected: readonly number[], tolerance = 1e-6) {
  assert.equal(actual.length, expected.length);
  actual.forEach((x, i) =>
    assert.ok(
      Math.abs(x - expected[i]) <= tolerance * (1 + Math.abs(expected[i])),
      `[${i}]: ${x} is not ${expected[i]}`,
    )
  );
}

const OPTIONS: LossOptions = {
  clipRange: 0.2,
  valueClipRange: 0,
  valueLossWeight: 0.5,
  entropyWeight: 0.01,
  ratio: "token",
};
const TOKENS = {
  logProb: [[-0.5, -1.5, 0], [-1, -0.25, -2]],
  oldLogProb: [[-1, -1.25, 0], [-1, -0.5, -1.5]],
  isToken: [[1, 1, 0], [1, 1, 1]],
};

/** Losses of two chunks of two and of three tokens. */
function tokenLosses(
  changes: { options?: Partial<LossOptions>; isPolicyDriven?: number[]; logProb?: tf.Tensor2D } =
    {},
) {
  const tokens = {
    logProb: changes.logProb ?? tf.tensor2d(TOKENS.logProb),
    oldLogProb: tf.tensor2d(TOKENS.oldLogProb),
    isToken: tf.tensor2d(TOKENS.isToken),
  };
  const column = (x: number[]) => tf.tensor1d(x);
  const input: LossInput = {
    logProb: tf.sum(tokens.logProb, 1) as tf.Tensor1D,
    entropy: column([1, 2]),
    value: column([0, 1]),
    oldLogProb: tf.sum(tokens.oldLogProb, 1) as tf.Tensor1D,
    oldValue: column([0, 0]),
    advantage: column([2, -1]),
    valueTarget: column([1, 1]),
    isPolicyDriven: changes.isPolicyDriven && column(changes.isPolicyDriven),
    tokens,
  };
  return ppoLosses(input, { ...OPTIONS, ...changes.options });
}

const numbers = (losses: Record<string, tf.Tensor>) =>
  Object.fromEntries(Object.entries(losses).map(([k, t]) => [k, t.dataSync()[0]]));

Deno.test("ppoLosses() with a ratio a token clips each on its own and means over all tokens", () => {
  tf.tidy(() => {
    // Ratios e^½, e^−¼ with A = 2; 1, e^¼, e^−½ with A = −1; clipped to [0.8, 1.2].
    const terms = [1.2 * 2, Math.exp(-0.25) * 2, -1, -Math.exp(0.25), -0.8];
    const { policy, clipFraction } = numbers({ ...tokenLosses() });
    assertClose([policy], [-terms.reduce((a, b) => a + b, 0) / 5]);
    assertClose([clipFraction], [4 / 5]);
  });
});

Deno.test("ppoLosses() with a ratio a token has the chunk ratio's gradient at ratio 1, over S", () => {
  tf.tidy(() => {
    const old = tf.tensor2d(TOKENS.oldLogProb);
    const gradient = (ratio: "chunk" | "token") =>
      tf.grad((x) => tokenLosses({ logProb: x as tf.Tensor2D, options: { ratio } }).policy)(old)
        .mul(tf.tensor2d(TOKENS.isToken)).dataSync();
    const meanTokens = 5 / 2;
    assertClose([...gradient("token")], [...gradient("chunk")].map((g) => g / meanTokens));
  });
});

Deno.test("ppoLosses() leaves a person's chunk to the critic: mask equals removal", () => {
  tf.tidy(() => {
    for (const ratio of ["chunk", "token"] as const) {
      const found = numbers({ ...tokenLosses({ isPolicyDriven: [0, 1], options: { ratio } }) });
      const ratios = ratio === "token" ? [1, Math.exp(0.25), 0.8] : [0.8];
      assertClose([found.policy], [ratios.reduce((a, b) => a + b, 0) / ratios.length]);
      assertClose([found.entropy], [2]);
      // The critic's errors, 1 and 0, both count.
      assertClose([found.value], [0.25]);
    }
  });
});

Deno.test("ppoLosses() while the critic warms up has no gradient for the policy", () => {
  tf.tidy(() => {
    const options = { policyLossWeight: 0, entropyWeight: 0 };
    const { total, value } = numbers({ ...tokenLosses({ options }) });
    assertClose([total], [0.5 * value]);
    const gradient = tf.grad((x) => tokenLosses({ logProb: x as tf.Tensor2D, options }).total);
    const found = gradient(tf.tensor2d(TOKENS.logProb)).dataSync();
    assert.ok(found.every((g) => Math.abs(g) === 0));
  });
});

Deno.test("ppoLosses() with a ratio a token has the gradient that finite differences give", () => {
  tf.tidy(() => {
    const options = { clipRange: 0.4, clipRangeHigh: 0.6, dualClip: 3 };
    const at = tf.tensor2d(TOKENS.logProb);
    const total = (x: tf.Tensor) => tokenLosses({ logProb: x as tf.Tensor2D, options }).total;
    const gradient = tf.grad(total)(at).dataSync();
    const step = 1e-2;
    for (let i = 0; i < at.size; i++) {
      const bump = tf.oneHot(i, at.size).reshape<tf.Tensor2D>([2, 3]).mul(step);
      const up = total(tf.add(at, bump)).dataSync()[0],
        down = total(tf.sub(at, bump)).dataSync()[0];
      assertClose([gradient[i]], [(up - down) / (2 * step)], 2e-3);
    }
  });
});

Deno.test("ppoLosses() refuses a ratio a token without tokens", () => {
  tf.tidy(() => {
    const x = tf.tensor1d([0]);
    const input = {
      logProb: x,
      entropy: x,
      value: x,
      oldLogProb: x,
      oldValue: x,
      advantage: x,
      valueTarget: x,
    };
    assert.throws(() => ppoLosses(input, OPTIONS), /RangeError: .*of the tokens are missing/);
  });
});
