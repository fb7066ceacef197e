import assert from "node:assert/strict";
import { type AdmissionFacts, admissionRefusals, learnerRefusal } from "./admission.ts";
import { DEFAULT_LIMITS } from "./default_limits.ts";

const SIGNATURE = { chunk: "50x14", convention: "aloha" };

const GOOD: AdmissionFacts = {
  weights: "checkpoint",
  startedFrom: "checkpoint",
  signature: { ...SIGNATURE, tokenizer: "anything" },
  requiredSignature: SIGNATURE,
  cameras: [
    { name: "cam_high", ageMs: 10 },
    { name: "cam_left_wrist", ageMs: 0 },
    { name: "cam_right_wrist", ageMs: 100 },
  ],
  maxCameraAgeMs: 100,
  arms: [{ name: "left", isChecked: true }, { name: "right", isChecked: true }],
  limits: DEFAULT_LIMITS,
};

Deno.test("admissionRefusals() admits a trained policy on a checked robot", () => {
  assert.deepEqual(admissionRefusals(GOOD), []);
  assert.deepEqual(admissionRefusals({ ...GOOD, weights: "learner" }), []);
});

/** One fact made bad, and what the sentence must say. */
const BAD: readonly (readonly [Partial<AdmissionFacts>, RegExp])[] = [
  [{ weights: "random", startedFrom: "random" }, /randomly initialised/],
  [{ weights: "learner", startedFrom: "random" }, /randomly initialised/],
  [{ weights: "random" }, /randomly initialised/],
  [{ signature: { ...SIGNATURE, chunk: "50x7" } }, /its chunk is "50x7", the robot needs "50x14"/],
  [{ signature: { chunk: "50x14" } }, /its convention is missing, the robot needs "aloha"/],
  [{ requiredSignature: {} }, /does not say what it needs/],
  [
    { cameras: [{ name: "cam_high", ageMs: 101 }, ...GOOD.cameras.slice(1)] },
    /Camera cam_high is stale: its newest frame is 101 ms old, at most 100 ms/,
  ],
  [{ cameras: [{ name: "cam_high", ageMs: NaN }, ...GOOD.cameras.slice(1)] }, /cam_high is stale/],
  [{ cameras: [{ name: "cam_high", ageMs: -5 }, ...GOOD.cameras.slice(1)] }, /cam_high is stale/],
  [{ cameras: [{ name: "cam_high", ageMs: 900 }, ...GOOD.cameras] }, /cam_high is stale/],
  [{ cameras: GOOD.cameras.slice(1) }, /Camera cam_high is missing/],
  [{ maxCameraAgeMs: Infinity }, /oldest usable frame is set to Infinity ms/],
  [{ maxCameraAgeMs: NaN }, /oldest usable frame is set to NaN ms/],
  [
    { arms: [{ name: "left", isChecked: true }, { name: "right", isChecked: false }] },
    /The right arm has not passed its check/,
  ],
  [{ arms: [{ name: "left", isChecked: true }] }, /The right arm has not passed its check/],
  [{ limits: null }, /No safety limits are loaded/],
];

Deno.test("admissionRefusals() has one sentence for each reason", () => {
  for (const [change, pattern] of BAD) {
    const refusals = admissionRefusals({ ...GOOD, ...change });
    assert.equal(refusals.length, 1, `${pattern}: ${refusals}`);
    assert.match(refusals[0], pattern);
    assert.ok(!refusals[0].includes("\n"));
  }
});

Deno.test("admissionRefusals() gives all reasons at once", () => {
  const refusals = admissionRefusals({
    ...GOOD,
    weights: "random",
    startedFrom: "random",
    signature: {},
    cameras: [],
    arms: [],
    limits: null,
  });
  assert.equal(refusals.length, 1 + 2 + 3 + 2 + 1);
});

Deno.test("admissionRefusals() is not fooled by inherited names of the signature", () => {
  const facts = { ...GOOD, requiredSignature: { toString: "x" } };
  assert.match(admissionRefusals(facts)[0], /its toString is missing/);
});

Deno.test("learnerRefusal() takes no weights of a learner that began at random", () => {
  assert.equal(learnerRefusal({ runName: "good", initialization: "checkpoint" }), null);
  const refusal = learnerRefusal({ runName: "bad", initialization: "random" });
  assert.match(refusal!, /^The learner's run "bad" began with random weights/);
});
