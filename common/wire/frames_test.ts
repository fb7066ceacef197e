import assert from "node:assert/strict";
import fc from "fast-check";
import { PRECISIONS } from "../config/config.ts";
import { type ChunkTransition, DECODERS, DRIVERS } from "../types.ts";
import { decodeFrame, encodeFrame, transitionBytes } from "./frames.ts";
import { checkStructure } from "./frame_limits.ts";
import { findLogProbFault, LOG_PROB_SUM_TOLERANCE } from "./log_probs.ts";
import type { Message } from "./messages.ts";
import type { RefusalReason } from "./refusals.ts";
import { findRewardFault } from "./rewards.ts";
import { sampleTensors, sampleTransition } from "./testing.ts";
import { pack } from "./typed_arrays.ts";
import { parseTransition } from "./validate.ts";
import { splitWeights } from "./weights_parts.ts";
import { WireError } from "./wire_error.ts";

const MESSAGES: readonly Message[] = [
  {
    type: "hello",
    protocolVersion: 1,
    role: "controller",
    controllerId: "left-bench",
    signature: { model: "tiny", tokenizer: "fast-2048", normalization: "q01-q99" },
  },
  {
    type: "welcome",
    policyVersion: 7,
    runName: "reach",
    initialization: "checkpoint",
    wantsImageTokens: true,
  },
  { type: "refuse", sentence: "No.", canRetry: false },
  { type: "transitions", transitions: [sampleTransition(0), sampleTransition(1)] },
  { type: "ack", chunkIds: ["a"], duplicateIds: ["b"], refusedIds: [] },
  splitWeights({ version: 9, tensors: sampleTensors(4) })[0],
  { type: "weights_received", version: 9 },
  { type: "busy" },
  { type: "resume" },
  { type: "shutdown", sentence: "All updates are done." },
  { type: "error", sentence: "Cannot read frame." },
];

const wireError = (code: string, pattern: RegExp) => (error: unknown) => {
  assert.ok(error instanceof WireError, String(error));
  assert.equal(error.code, code);
  assert.match(error.message, pattern);
  assert.ok(!error.message.includes("\n"), "one sentence has one line");
  return true;
};

const float = fc.float({ noNaN: true, noDefaultInfinity: true });
// MessagePack writes −0 as the integer 0, which means the same to everyone.
const double = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);

const arbitraryTransition: fc.Arbitrary<ChunkTransition> = fc.record({
  chunkId: fc.string({ minLength: 1, maxLength: 40, unit: "binary" }),
  episodeId: fc.uuid(),
  chunkIndex: fc.nat(),
  policyVersion: fc.maxSafeNat(),
  tokens: fc.int32Array({ min: 0, max: 257_151, minLength: 1, maxLength: 40 }),
  nats: fc.float32Array({ min: -1e4, max: 0, noNaN: true, minLength: 40, maxLength: 40 }),
  precision: fc.constantFrom(...PRECISIONS),
  decoder: fc.constantFrom(...DECODERS),
  driver: fc.constantFrom(...DRIVERS),
  value: double,
  finalValue: double,
  rewards: fc.float32Array({ noNaN: true, noDefaultInfinity: true, minLength: 1, maxLength: 50 }),
  isJudged: fc.boolean(),
  end: fc.constantFrom("isTerminal", "isTruncated", "isCutShort", "none"),
  isSuccess: fc.boolean(),
  state: fc.array(float, { minLength: 14, maxLength: 14 }),
  prompt: fc.string({ unit: "grapheme" }),
  seen: fc.option(fc.float32Array({ noNaN: true, noDefaultInfinity: true, maxLength: 20 })),
}).map(({ state, prompt, seen, nats, precision, decoder, rewards, isJudged, end, ...fields }) => {
  const { images } = sampleTransition(fields.chunkIndex).observation;
  const tokenLogProbs = nats.slice(0, fields.driver === "person" ? 0 : fields.tokens.length);
  return {
    ...fields,
    reward: rewards.reduce((sum, one) => sum + one, 0),
    stepRewards: rewards,
    humanRewards: isJudged ? rewards : new Float32Array(0),
    stepsExecuted: rewards.length,
    isTerminal: end === "isTerminal",
    isTruncated: end === "isTruncated",
    isCutShort: end === "isCutShort",
    logProb: tokenLogProbs.reduce((sum, one) => sum + one, 0),
    tokenLogProbs,
    behaviour: { precision, decoder },
    observation: { images, state: Float32Array.from(state), prompt },
    ...(seen && { imageTokens: seen }),
  };
});

Deno.test("encodeFrame() and decodeFrame() round-trip every message", () => {
  for (const message of MESSAGES) assert.deepEqual(decodeFrame(encodeFrame(message)), message);
});

Deno.test("decodeFrame() gives back any valid transition", () => {
  fc.assert(
    fc.property(fc.array(arbitraryTransition, { minLength: 1, maxLength: 4 }), (transitions) => {
      const message: Message = { type: "transitions", transitions };
      const frame = encodeFrame(message);
      assert.deepEqual(decodeFrame(frame), message);
      const bound = transitions.reduce((sum, one) => sum + transitionBytes(one), 0);
      assert.ok(frame.length <= bound);
    }),
    { numRuns: 60 },
  );
});

Deno.test("decodeFrame() looks at the received buffer instead of copying it", () => {
  const frame = encodeFrame({ type: "transitions", transitions: [sampleTransition(0)] });
  const decoded = decodeFrame(frame);
  assert.ok(decoded.type === "transitions");
  const { observation, tokens, tokenLogProbs } = decoded.transitions[0];
  for (
    const array of [observation.state, tokens, tokenLogProbs, observation.images.cam_high.data]
  ) {
    assert.equal(array.buffer, frame.buffer);
  }
});

Deno.test("decodeFrame() copies only arrays that the frame's place misaligns", () => {
  const frame = encodeFrame({ type: "transitions", transitions: [sampleTransition(0)] });
  for (const shift of [1, 2, 3, 4]) {
    const moved = new Uint8Array(frame.length + shift).subarray(shift);
    moved.set(frame);
    const decoded = decodeFrame(moved);
    assert.ok(decoded.type === "transitions");
    assert.deepEqual(decoded.transitions[0], sampleTransition(0));
    assert.equal(
      decoded.transitions[0].observation.state.buffer === moved.buffer,
      shift === 4,
    );
  }
});

Deno.test("decodeFrame() throws nothing but WireError on changed bytes", () => {
  const frames = MESSAGES.map((message) => encodeFrame(message));
  const change = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(fc.nat(), fc.array(change, { minLength: 1, maxLength: 6 }), (which, changes) => {
      const frame = frames[which % frames.length].slice();
      for (const { at, byte } of changes) frame[at % frame.length] = byte;
      expectMessageOrWireError(frame);
    }),
    { numRuns: 3000 },
  );
});

Deno.test("decodeFrame() refuses every truncation and every trailing byte", () => {
  for (const message of MESSAGES) {
    const frame = encodeFrame(message);
    for (let length = 0; length < frame.length; length++) {
      assert.throws(() => decodeFrame(frame.subarray(0, length)), WireError);
    }
    const longer = new Uint8Array(frame.length + 1);
    longer.set(frame);
    assert.throws(() => decodeFrame(longer), wireError("malformed", /1 bytes are left over/));
  }
});

Deno.test("decodeFrame() throws nothing but WireError on arbitrary bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, hasPrefix) => {
      expectMessageOrWireError(hasPrefix ? Uint8Array.of(0x92, 1, ...bytes) : bytes);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("decodeFrame() refuses a frame over the cap and names both sizes", () => {
  const frame = encodeFrame({ type: "transitions", transitions: [sampleTransition(0)] });
  assert.throws(
    () => decodeFrame(frame, { maxFrameBytes: 100 }),
    wireError("oversize", /it has \d+ bytes, the limit is 100/),
  );
});

Deno.test("encodeFrame() refuses a message over the cap", () => {
  const message: Message = { type: "transitions", transitions: [sampleTransition(0)] };
  const { length } = encodeFrame(message);
  for (const maxFrameBytes of [10, length - 1]) {
    assert.throws(() => encodeFrame(message, { maxFrameBytes }), wireError("oversize", /limit/));
  }
  assert.equal(encodeFrame(message, { maxFrameBytes: length }).length, length);
});

Deno.test("decodeFrame() names both versions of a frame from another release", () => {
  const frame = encodeFrame({ type: "busy" });
  frame[1] = 2;
  assert.throws(
    () => decodeFrame(frame),
    wireError("version", /has version 2, this program reads version 1/),
  );
});

Deno.test("checkStructure() refuses promises before anything is allocated for them", () => {
  const arrayOf4G = Uint8Array.of(0x92, 1, 0xdd, 0xff, 0xff, 0xff, 0xff);
  assert.throws(() => decodeFrame(arrayOf4G), wireError("malformed", /promises 4294967298 values/));
  const mapOf4G = Uint8Array.of(0x92, 1, 0xdf, 0xff, 0xff, 0xff, 0xff);
  assert.throws(() => decodeFrame(mapOf4G), wireError("malformed", /promises/));
  const binOf4G = Uint8Array.of(0x92, 1, 0xc6, 0xff, 0xff, 0xff, 0xff);
  assert.throws(() => decodeFrame(binOf4G), wireError("malformed", /cut short/));
  const nested = new Uint8Array(50).fill(0x91);
  assert.throws(() => checkStructure(nested), wireError("malformed", /nested deeper than 12/));
});

Deno.test("checkStructure() accepts what the codec writes", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => checkStructure(pack(value, 64))),
    { numRuns: 200 },
  );
});

Deno.test("decodeFrame() keeps the good transitions of a frame and lists the others", () => {
  const bad = sampleTransition(1, { logProb: Number.NaN });
  const frame = encodeFrame({ type: "transitions", transitions: [sampleTransition(0), bad] });
  const message = decodeFrame(frame);
  assert.ok(message.type === "transitions");
  assert.deepEqual(message.transitions, [sampleTransition(0)]);
  assert.equal(message.refused?.length, 1);
  assert.equal(message.refused?.[0].chunkId, "chunk-1");
  assert.equal(message.refused?.[0].reason, "log_prob_range");
  assert.match(message.refused![0].sentence, /logProb/);
});

Deno.test("decodeFrame() says why log-probabilities are refused", () => {
  const good = sampleTransition(0);
  const nats = good.tokenLogProbs;
  const cases: [RefusalReason, Partial<ChunkTransition>, RegExp][] = [
    ["log_prob_length", { tokenLogProbs: nats.slice(1) }, /one number a token, got 3 for 4/],
    ["log_prob_length", { tokenLogProbs: new Float32Array(0) }, /got 0 for 4/],
    ["log_prob_range", { tokenLogProbs: nats.with(2, NaN) }, /got NaN at index 2/],
    ["log_prob_range", { tokenLogProbs: nats.with(1, -Infinity) }, /got -Infinity at index 1/],
    ["log_prob_range", { tokenLogProbs: nats.with(3, 0.5) }, /at most 0, got 0.5 at index 3/],
    ["log_prob_range", { logProb: -Infinity }, /logProb: must be finite/],
    ["log_prob_range", { logProb: 0.25 }, /logProb: .* at most 0, got 0.25/],
    ["log_prob_sum", { logProb: -12 }, /the sum of the tokens', which is -12.5, got -12/],
    ["fields", { value: NaN }, /value/],
  ];
  const transitions = cases.map(([_, changes]) => ({ ...good, ...changes }));
  const message = decodeFrame(encodeFrame({ type: "transitions", transitions }));
  assert.ok(message.type === "transitions");
  assert.deepEqual(message.transitions, []);
  assert.deepEqual(message.refused?.map(({ reason }) => reason), cases.map(([reason]) => reason));
  cases.forEach(([_, __, pattern], i) => assert.match(message.refused![i].sentence, pattern));
});

Deno.test("decodeFrame() says why rewards, ends and shapes are refused", () => {
  const good = sampleTransition(0);
  const { stepRewards: rewards, observation } = good;
  const picture = { width: 4, height: 4, data: new Uint8Array(47) };
  const images = { ...observation.images, cam_high: picture };
  const person = { driver: "person", logProb: 0, tokenLogProbs: new Float32Array(0) } as const;
  const cases: [RefusalReason, Partial<ChunkTransition>, RegExp][] = [
    ["shape", { stepRewards: rewards.slice(1) }, /one number an executed step, got 3 for 4/],
    ["shape", { stepsExecuted: 5 }, /got 4 for 5/],
    ["shape", { humanRewards: rewards.slice(2) }, /humanRewards: must be empty or .* got 2 for 4/],
    ["reward", { stepRewards: rewards.with(2, NaN) }, /stepRewards: .* finite, got NaN at index 2/],
    ["reward", { humanRewards: rewards.with(0, -Infinity) }, /humanRewards: .* got -Infinity/],
    ["reward", { reward: NaN }, /reward: must be finite, got NaN/],
    ["reward", { reward: 1.6 }, /the sum of the steps', which is 1.5, got 1.6/],
    ["end", { isTerminal: true, isTruncated: true }, /isTerminal: contradicts isTruncated/],
    ["end", { isTruncated: true, isCutShort: true }, /isTruncated: contradicts isCutShort/],
    ["shape", { tokens: new Int32Array(0) }, /tokens: must have 1 to 8192/],
    ["shape", { observation: { ...observation, state: new Float32Array(7) } }, /14 numbers, got 7/],
    ["shape", { observation: { ...observation, images } }, /48 bytes for 4x4 RGB, got 47/],
    ["log_prob_length", { ...person, logProb: -1 }, /must be empty and logProb 0/],
    ["log_prob_length", { driver: "person" }, /a person drove, got 4 numbers and -12.5/],
    ["log_prob_length", { ...person, driver: "policy" }, /one number a token, got 0 for 4/],
    ["fields", { stepsExecuted: 1.5 }, /stepsExecuted/],
  ];
  const transitions = cases.map(([_, changes], i) => ({ ...sampleTransition(i), ...changes }));
  transitions.push({ ...good, ...person, chunkId: "a-persons" });
  const message = decodeFrame(encodeFrame({ type: "transitions", transitions }));
  assert.ok(message.type === "transitions");
  assert.deepEqual(message.transitions.map(({ chunkId }) => chunkId), ["a-persons"]);
  assert.deepEqual(message.refused?.map(({ reason }) => reason), cases.map(([reason]) => reason));
  cases.forEach(([_, __, pattern], i) => assert.match(message.refused![i].sentence, pattern));
});

Deno.test("decodeFrame() lets no rewards through that do not add up or are not finite", () => {
  const odd = fc.constantFrom(NaN, Infinity, -Infinity, 3e38, -3e38, 1e-40, -0);
  const any = fc.oneof({ weight: 9, arbitrary: fc.float({ min: -8, max: 8, noNaN: true }) }, odd);
  const changes = fc.record({
    rewards: fc.array(any, { minLength: 1, maxLength: 6 }).map((xs) => Float32Array.from(xs)),
    human: fc.array(any, { maxLength: 6 }).map((xs) => Float32Array.from(xs)),
    stepsExecuted: fc.integer({ min: 1, max: 6 }),
    offset: fc.constantFrom(0, 0, 1e-7, 0.1, NaN, Infinity),
    isTerminal: fc.boolean(),
    isCutShort: fc.boolean(),
  });
  const seen = { accepted: 0, refused: 0 };
  fc.assert(
    fc.property(fc.array(changes, { minLength: 1, maxLength: 5 }), (all) => {
      const transitions = all.map(({ rewards, human, offset, stepsExecuted, ...ends }, i) =>
        sampleTransition(i, {
          ...ends,
          stepsExecuted: i % 2 === 0 ? rewards.length : stepsExecuted,
          stepRewards: rewards,
          humanRewards: i % 2 === 0 ? human.slice(0, 0) : human,
          reward: rewards.reduce((sum, one) => sum + one, offset),
        })
      );
      const message = decodeFrame(encodeFrame({ type: "transitions", transitions }));
      assert.ok(message.type === "transitions");
      message.transitions.forEach(assertPlausible);
      seen.accepted += message.transitions.length;
      seen.refused += message.refused?.length ?? 0;
    }),
    { numRuns: 300 },
  );
  assert.ok(seen.accepted > 20 && seen.refused > 20, JSON.stringify(seen));
});

Deno.test("decodeFrame() lets no log-probabilities through that cannot be true", () => {
  const odd = fc.constantFrom(NaN, Infinity, -Infinity, 1e-30, 0.5, -0, -1e38);
  const any = fc.oneof({ weight: 9, arbitrary: fc.float({ min: -8, max: 0 }) }, odd);
  const changes = fc.record({
    tokenLogProbs: fc.array(any, { minLength: 3, maxLength: 5 }).map((xs) => Float32Array.from(xs)),
    offset: fc.constantFrom(0, 0, 1e-6, -1e-6, 0.01, -0.01, NaN, Infinity),
  });
  const seen = { accepted: 0, refused: 0 };
  fc.assert(
    fc.property(fc.array(changes, { minLength: 1, maxLength: 5 }), (all) => {
      const transitions = all.map(({ tokenLogProbs, offset }, i) => {
        const logProb = tokenLogProbs.reduce((sum, one) => sum + one, offset);
        return sampleTransition(i, { tokenLogProbs, logProb });
      });
      const message = decodeFrame(encodeFrame({ type: "transitions", transitions }));
      assert.ok(message.type === "transitions");
      const { transitions: kept, refused = [] } = message;
      assert.equal(kept.length + refused.length, all.length);
      kept.forEach(assertPlausible);
      assert.ok(refused.every(({ reason }) => reason.startsWith("log_prob_")));
      seen.accepted += kept.length;
      seen.refused += refused.length;
    }),
    { numRuns: 300 },
  );
  assert.ok(seen.accepted > 20 && seen.refused > 20, JSON.stringify(seen));
});

Deno.test("findLogProbFault() accepts what float32 rounds and refuses one token changed by more", () => {
  const natsOf = fc.array(fc.double({ min: -50, max: 0, noNaN: true }), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(
      natsOf,
      fc.nat(),
      fc.double({ min: 2, max: 50, noNaN: true }),
      (nats, at, excess) => {
        const logProb = nats.reduce((sum, one) => sum + one, 0);
        const tokens = new Int32Array(nats.length);
        const tokenLogProbs = Float32Array.from(nats);
        const driver = "policy";
        assert.equal(findLogProbFault({ driver, tokens, logProb, tokenLogProbs }), null);
        const margin = LOG_PROB_SUM_TOLERANCE * (1 + Math.abs(logProb));
        tokenLogProbs[at % nats.length] -= excess * margin;
        assert.equal(
          findLogProbFault({ driver, tokens, logProb, tokenLogProbs })?.reason,
          "log_prob_sum",
        );
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("parseTransition() names the field that is wrong", () => {
  const good = sampleTransition(0);
  const { observation } = good;
  const image = observation.images.cam_high;
  const cases: [Partial<Record<keyof ChunkTransition, unknown>>, RegExp][] = [
    [{ chunkId: "" }, /chunkId/],
    [{ chunkId: "x".repeat(201) }, /chunkId/],
    [{ chunkIndex: -1 }, /chunkIndex/],
    [{ chunkIndex: 0.5 }, /chunkIndex/],
    [{ policyVersion: 2 ** 60 }, /policyVersion/],
    [{ tokens: Int32Array.of(3, -1) }, /tokens: must be in \[0, 1000000\), got -1 at index 1/],
    [{ tokens: new Int32Array(0) }, /tokens: must have 1 to 8192 tokens, got 0/],
    [{ tokens: [1, 2] }, /tokens: must be an Int32Array/],
    [{ logProb: "-12.5" }, /logProb: must be a number/],
    [{ tokenLogProbs: undefined }, /tokenLogProbs: must be a Float32Array/],
    [{ tokenLogProbs: [-12.5] }, /tokenLogProbs: must be a Float32Array/],
    [{ behaviour: undefined }, /behaviour/],
    [{ behaviour: { precision: "int2", decoder: "wasm" } }, /behaviour\.precision/],
    [{ behaviour: { precision: "int8", decoder: "abacus" } }, /behaviour\.decoder/],
    [{ reward: Infinity }, /reward/],
    [{ value: NaN }, /value/],
    [{ stepsExecuted: 0 }, /stepsExecuted/],
    [{ stepRewards: [0, 0, 0, 1.5] }, /stepRewards: must be a Float32Array/],
    [{ humanRewards: undefined }, /humanRewards: must be a Float32Array/],
    [{ isTerminal: 1 }, /isTerminal/],
    [{ isCutShort: undefined }, /isCutShort/],
    [{ driver: "nobody" }, /driver/],
    [{ finalValue: undefined }, /finalValue/],
    [{ imageTokens: [1] }, /imageTokens: must be a Float32Array/],
    [{ imageTokens: Float32Array.of(1, NaN) }, /imageTokens: must be finite, got NaN at index 1/],
    [
      { observation: { ...observation, state: new Float32Array(13) } },
      /observation\.state: must have 14 numbers, got 13/,
    ],
    [
      { observation: { ...observation, state: new Float32Array(14).fill(NaN) } },
      /observation\.state: must be finite, got NaN at index 0/,
    ],
    [
      {
        observation: {
          ...observation,
          images: { ...observation.images, cam_high: { ...image, width: image.width + 1 } },
        },
      },
      /observation\.images\.cam_high: must have 45 bytes for 5x3 RGB, got 36/,
    ],
    [{ observation: { ...observation, images: {} } }, /observation\.images\.cam_high/],
  ];
  for (const [changes, pattern] of cases) {
    assert.throws(() => parseTransition({ ...good, ...changes }), wireError("malformed", pattern));
  }
  assert.deepEqual(parseTransition(good), good);
});

Deno.test("decodeFrame() refuses types that objects inherit", () => {
  for (const type of ["constructor", "__proto__", "toString", "nothing", ""]) {
    const frame = pack([1, { type }], 64);
    assert.throws(() => decodeFrame(frame), wireError("malformed", /no message has type/));
  }
});

function expectMessageOrWireError(frame: Uint8Array): void {
  try {
    const message = decodeFrame(frame);
    if (message.type !== "transitions") return;
    // Whatever happened to the bytes: what was let through can be trained on.
    for (const transition of message.transitions) assertPlausible(transition);
  } catch (error) {
    assert.ok(error instanceof WireError, `${error}`);
    assert.ok(error.message.length < 600);
  }
}

/** What the learner may rely on. */
function assertPlausible(transition: ChunkTransition): void {
  const { driver, tokens, logProb, tokenLogProbs, stepsExecuted, stepRewards } = transition;
  assert.equal(findRewardFault(transition), null);
  assert.equal(stepRewards.length, stepsExecuted);
  assert.ok(stepRewards.every(Number.isFinite) && Number.isFinite(transition.reward));
  if (driver === "person") {
    assert.deepEqual([tokenLogProbs.length, logProb], [0, 0]);
    return;
  }
  assert.equal(tokenLogProbs.length, tokens.length);
  assert.ok(tokenLogProbs.every((one) => Number.isFinite(one) && one <= 0));
  const sum = tokenLogProbs.reduce((total, one) => total + one, 0);
  assert.ok(Math.abs(sum - logProb) <= 1e-4 * (1 + Math.abs(sum)), `${sum} and ${logProb}`);
}
