import assert from "node:assert/strict";
import { ENVIRONMENT_ONLY, meanBySource, mixRewards, splitRewards } from "./reward_mix.ts";

const PARTS = {
  environment: Float32Array.of(1, 0, 2),
  human: Float32Array.of(0, -4, 0),
  intrinsic: 0.5,
};

Deno.test("mixRewards() weighs each source and tells their sums apart", () => {
  const weights = { environment: 1, human: 0.5, intrinsic: 2 };
  const { stepRewards, total, sums } = mixRewards(PARTS, weights);
  assert.deepEqual([...stepRewards], [2, -2, 2]);
  assert.equal(total, 2);
  assert.deepEqual(sums, { environment: 3, human: -4, intrinsic: 0.5 });
});

Deno.test("mixRewards() of the environment alone leaves its rewards as they are", () => {
  assert.deepEqual(mixRewards(PARTS, ENVIRONMENT_ONLY).stepRewards, PARTS.environment);
  const alone = mixRewards({ environment: PARTS.environment }, ENVIRONMENT_ONLY);
  assert.deepEqual(alone.sums, { environment: 3, human: 0, intrinsic: 0 });
});

Deno.test("splitRewards() takes a person's rewards out of those of all", () => {
  const all = Float32Array.of(1, -4, 2);
  assert.deepEqual(splitRewards(all, PARTS.human), {
    environment: Float32Array.of(1, 0, 2),
    human: PARTS.human,
  });
  assert.deepEqual(splitRewards(all, new Float32Array(0)), { environment: all });
  assert.throws(
    () => mixRewards(splitRewards(all, PARTS.human.subarray(1)), ENVIRONMENT_ONLY),
    RangeError,
  );
});

Deno.test("mixRewards() refuses unlike lengths, no steps and numbers that are not finite", () => {
  const environment = PARTS.environment;
  assert.throws(
    () => mixRewards({ environment, human: new Float32Array(2) }, ENVIRONMENT_ONLY),
    /RangeError: .*3 from the environment and 2 from a person/,
  );
  assert.throws(
    () => mixRewards({ environment: new Float32Array(0) }, ENVIRONMENT_ONLY),
    RangeError,
  );
  assert.throws(
    () => mixRewards({ environment, intrinsic: NaN }, ENVIRONMENT_ONLY),
    /RangeError: .*source intrinsic add up to NaN/,
  );
  assert.throws(
    () => mixRewards({ environment }, { ...ENVIRONMENT_ONLY, human: Infinity }),
    /RangeError: .*source human .* weight is Infinity/,
  );
});

Deno.test("meanBySource() is each source's mean over chunks", () => {
  const other = mixRewards({ environment: Float32Array.of(1) }, ENVIRONMENT_ONLY);
  assert.deepEqual(meanBySource([mixRewards(PARTS, ENVIRONMENT_ONLY), other]), {
    environment: 2,
    human: -2,
    intrinsic: 0.25,
  });
  assert.deepEqual(meanBySource([]), { environment: 0, human: 0, intrinsic: 0 });
});
