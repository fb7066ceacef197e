import assert from "node:assert/strict";
import fc from "fast-check";
import type { ChunkTransition } from "../../common/types.ts";
import { makeTransition } from "../testing.ts";
import { computeGae, normalizeAdvantages } from "./gae.ts";

/** Consecutive chunks of one episode, of one step unless told otherwise. */
function episode(chunks: readonly Partial<ChunkTransition>[]): ChunkTransition[] {
  return chunks.map((changes, chunkIndex) => ({
    ...makeTransition({ chunkIndex, stepsExecuted: changes.stepRewards?.length ?? 1 }),
    ...changes,
  }));
}

function assertClose(actual: readonly number[], expected: readonly number[], tolerance = 1e-9) {
  assert.equal(actual.length, expected.length);
  actual.forEach((x, i) =>
    assert.ok(Math.abs(x - expected[i]) <= tolerance, `[${i}]: ${x} is not ${expected[i]}`)
  );
}

const HALVES = { gamma: 0.5, lambda: 0.5, discounting: "step" } as const;
const rewards = (...values: number[]) => ({ stepRewards: Float32Array.from(values) });
const advantages = (
  chunks: readonly ChunkTransition[],
  options: Parameters<typeof computeGae>[1],
) => computeGae(chunks, options).map((e) => e.advantage);
const targets = (chunks: readonly ChunkTransition[], options: Parameters<typeof computeGae>[1]) =>
  computeGae(chunks, options).map((e) => e.valueTarget);

Deno.test("computeGae() by step: success after two of a chunk's steps, nothing bootstrapped", () => {
  // Chunk 1: R = 0 + ½·8 = 4, Γ = ¼, A = 4 − 3 = 1.
  // Chunk 0: R = 4 + ½·2 + ¼·8 = 7, Γ = ⅛: δ = 7 + ⅛·3 − 2 = 5.375, A = 5.375 + ⅛·½·1 = 5.4375.
  const chunks = episode([
    { ...rewards(4, 2, 8), value: 2 },
    { ...rewards(0, 8), value: 3, isTerminal: true, finalValue: 99 },
  ]);
  assert.deepEqual(advantages(chunks, { ...HALVES, nextValue: 99 }), [5.4375, 1]);
});

Deno.test("computeGae() by step: a time limit bootstraps γ^h times the final observation's value", () => {
  // R = 4 + ½·2 = 5, Γ = ¼: A = 5 + ¼·16 − 2 = 7.
  const chunks = episode([{ ...rewards(4, 2), value: 2, isTruncated: true, finalValue: 16 }]);
  assert.deepEqual(advantages(chunks, HALVES), [7]);
});

Deno.test("computeGae() by step: a chunk that a stop cut short bootstraps after its last step", () => {
  // Three steps planned, one executed: R = 4, Γ = ½: A = 4 + ½·16 − 2 = 10.
  const cut = { value: 2, isCutShort: true, finalValue: 16 };
  const chunks = episode([{ ...rewards(1), value: 1 }, { ...rewards(4), ...cut }]);
  // Chunk 0: δ = 1 + ½·2 − 1 = 1, A = 1 + ½·½·10 = 3.5.
  assert.deepEqual(advantages(chunks, { ...HALVES, nextValue: 99 }), [3.5, 10]);
  // A stop in the very step that failed the task is a failure: 4 − 2.
  assert.deepEqual(advantages(episode([{ ...rewards(4), ...cut, isTerminal: true }]), HALVES), [2]);
});

Deno.test("computeGae() cuts the policy's chain where a person takes over and keeps the value's", () => {
  const chunks = episode([
    { ...rewards(1), value: 1 },
    { ...rewards(2), value: 2 }, // the person takes over after this one
    { ...rewards(0, 4), value: 4, driver: "person" },
    { ...rewards(8), value: 8, driver: "person" },
    { ...rewards(2), value: 6, isTerminal: true }, // and has given back before this one
  ]);
  // Policy, chunk 4: A = 2 − 6 = −4. Person, chunk 3: δ = 8 + ½·6 − 8 = 3, chain 3 + ¼·(−4) = 2,
  // target 10. Chunk 2: R = 0 + ½·4 = 2, Γ = ¼, δ = 2 + ¼·8 − 4 = 0, chain ⅛·2 = ¼, target 4.25.
  // Policy, chunk 1: bootstrap at the takeover alone: A = 2 + ½·4 − 2 = 2, without the chain.
  // Chunk 0: δ = 1 + ½·2 − 1 = 1, A = 1 + ¼·2 = 1.5.
  assert.deepEqual(advantages(chunks, HALVES), [1.5, 2, 0, 0, -4]);
  assert.deepEqual(targets(chunks, HALVES), [2.5, 4, 4.25, 10, 2]);
});

Deno.test("computeGae() bootstraps a takeover whose next chunk is not at hand with its value", () => {
  const chunks = episode([{ ...rewards(2), value: 2 }]);
  assert.deepEqual(advantages(chunks, { ...HALVES, nextValue: 4 }), [2]);
});

Deno.test("normalizeAdvantages() leaves out what a person drove: mask equals removal", () => {
  const chunks = episode([
    { value: 1, reward: 3 },
    { value: 5, reward: -2, driver: "person" },
    { value: 2, reward: 1, isTerminal: true },
  ]);
  const estimates = computeGae(chunks, { gamma: 0.9, lambda: 0.9 });
  const masked = normalizeAdvantages(estimates);
  const removed = normalizeAdvantages([estimates[0], estimates[2]]);
  assert.deepEqual([masked[0], masked[2]], removed);
  assert.equal(masked[1].advantage, 0);
  assert.equal(normalizeAdvantages(estimates, () => false)[0].advantage, 0);
});

Deno.test("computeGae() refuses chunks of two episodes and values that are not finite", () => {
  const [a, b] = episode([{ value: 1 }, { value: 1, isTruncated: true, finalValue: NaN }]);
  assert.throws(
    () => computeGae([a, { ...b, episodeId: "other", finalValue: 0 }], HALVES),
    /RangeError: .*a chunk of episode other follows one of episode/,
  );
  assert.throws(() => computeGae([a, b], HALVES), /RangeError: .*value after chunk 1 .* is NaN/);
  assert.throws(() => computeGae([{ ...a, stepsExecuted: 0 }, b], HALVES), RangeError);
});

const reward = fc.float({ min: -4, max: 4, noNaN: true });
const oneChunk = fc.record({
  stepRewards: fc.array(reward, { minLength: 1, maxLength: 6 }).map((r) => Float32Array.from(r)),
  value: fc.double({ min: -5, max: 5, noNaN: true }),
});
const anEpisode = fc.record({
  chunks: fc.array(oneChunk, { minLength: 1, maxLength: 6 }),
  gamma: fc.double({ min: 0, max: 1, noNaN: true }),
  after: fc.double({ min: -5, max: 5, noNaN: true }),
});

/** Returns of each control step: Σ γ^i r_i and then γ^n times the value after the last one. */
function stepReturns(rewards: readonly number[], gamma: number, after: number): number[] {
  const out = new Array<number>(rewards.length);
  for (let i = rewards.length - 1; i >= 0; i--) {
    out[i] = rewards[i] + gamma * (out[i + 1] ?? after);
  }
  return out;
}

Deno.test("computeGae() by step with λ = 1 gives Monte Carlo returns of the control steps", () => {
  fc.assert(
    fc.property(anEpisode, ({ chunks, gamma, after }) => {
      const options = { gamma, lambda: 1, discounting: "step", nextValue: after } as const;
      const returns = stepReturns(chunks.flatMap((c) => [...c.stepRewards]), gamma, after);
      let start = 0;
      const atStarts = chunks.map((c) => {
        const found = returns[start];
        start += c.stepRewards.length;
        return found;
      });
      assertClose(targets(episode(chunks), options), atStarts);
    }),
    { numRuns: 100, seed: 5 },
  );
});

Deno.test("computeGae() by step with γ = 1 and λ = 1 gives plain sums", () => {
  fc.assert(
    fc.property(anEpisode, ({ chunks, after }) => {
      const options = { gamma: 1, lambda: 1, discounting: "step", nextValue: after } as const;
      const sums = chunks.map((c) => c.stepRewards.reduce((a, b) => a + b, 0));
      const rest = sums.map((_, t) => sums.slice(t).reduce((a, b) => a + b, after));
      assertClose(targets(episode(chunks), options), rest);
    }),
    { numRuns: 50, seed: 6 },
  );
});

Deno.test("computeGae() with λ = 1 does not mind where an episode is cut into chunks", () => {
  fc.assert(
    fc.property(anEpisode, fc.nat(), fc.nat(), ({ chunks, gamma, after }, which, where) => {
      const options = { gamma, lambda: 1, discounting: "step", nextValue: after } as const;
      const k = which % chunks.length;
      const steps = chunks[k].stepRewards;
      const cut = where % steps.length;
      const parts = cut === 0 ? [chunks[k]] : [
        { ...chunks[k], stepRewards: steps.slice(0, cut) },
        { value: 1.25, stepRewards: steps.slice(cut) },
      ];
      const split = [...chunks.slice(0, k), ...parts, ...chunks.slice(k + 1)];
      const found = targets(episode(split), options);
      found.splice(k + 1, parts.length - 1);
      assertClose(found, targets(episode(chunks), options));
    }),
    { numRuns: 100, seed: 7 },
  );
});
