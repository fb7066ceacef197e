import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import type { RgbImage } from "../types.ts";
import type { ActorCritic } from "./actor_critic.ts";
import { useDevice } from "./backend.ts";
import { forward, imageTensor, type NetworkInput, startDecoding } from "./network.ts";
import {
  countTensors,
  makeObservations,
  makePolicy,
  maxDifference,
  MICRO,
  randomTokens,
  take,
} from "./testing.ts";

const TOLERANCE = 1e-4;

interface Result {
  /** `[B, S, V]`. */
  readonly logits: Float32Array;
  readonly value: Float32Array;
  readonly steps: number;
}

async function run(
  policy: ActorCritic,
  input: NetworkInput,
  tokens: readonly Int32Array[],
): Promise<Result> {
  const out = tf.tidy(() => {
    const { logits, value } = forward(policy.network, input, tokens);
    return { logits, value };
  });
  const steps = out.logits.shape[1];
  return { logits: await take(out.logits), value: await take(out.value), steps };
}

/** Logits `[S_b, V]` of one row's own tokens. */
function rowOf(policy: ActorCritic, { logits, steps }: Result, row: number, length: number) {
  const V = policy.network.fastVocab;
  return logits.slice(row * steps * V, (row * steps + length) * V);
}

for (const device of ["cpu", "wasm"] as const) {
  for (const decodePositions of ["natural", "openpi"] as const) {
    for (const valueInput of ["observation", "chunk"] as const) {
      const name = `with ${decodePositions} positions and the ${valueInput} critic on ${device}`;
      Deno.test(`forward() equals decoding token by token ${name}`, async () => {
        await useDevice(device);
        const before = countTensors();
        {
          using policy = makePolicy({ variant: { ...MICRO, decodePositions }, valueInput });
          const input = policy.prepareInput(makeObservations(1, 3));
          const lengths = input.ids.prompts.map((p) => p.length);
          assert.equal(new Set(lengths).size, 3, "the batch has padding");
          const tokens = randomTokens(2, [7, 4, 6], policy.network.fastVocab);
          const result = await run(policy, input, tokens);
          const V = policy.network.fastVocab;

          using decoding = await startDecoding(policy.network, input, result.steps + 2);
          for (let s = 0; s < result.steps; s++) {
            tokens.forEach(({ length }, row) => {
              if (s >= length) return;
              const expected = rowOf(policy, result, row, length).slice(s * V, (s + 1) * V);
              const found = decoding.logits.slice(row * V, (row + 1) * V);
              assert.ok(maxDifference(found, expected) < TOLERANCE, `row ${row}, token ${s}`);
            });
            if (s < result.steps - 1) {
              await decoding.feed(tokens.map((row) => row[Math.min(s, row.length - 1)]));
            }
          }
          const values = valueInput === "chunk"
            ? await decoding.finish(tokens.map((row) => row.length))
            : decoding.values;
          assert.ok(maxDifference(values, result.value) < TOLERANCE, "values");
        }
        assert.equal(countTensors(), before);
      });
    }
  }

  Deno.test(`forward() gives a row the same numbers alone and in a batch on ${device}`, async () => {
    await useDevice(device);
    for (const valueInput of ["observation", "chunk"] as const) {
      using policy = makePolicy({ valueInput });
      const observations = makeObservations(3, 3);
      const tokens = randomTokens(4, [5, 9, 2], policy.network.fastVocab);
      const batch = await run(policy, policy.prepareInput(observations), tokens);
      for (let row = 0; row < 3; row++) {
        const { length } = tokens[row];
        const input = policy.prepareInput([observations[row]]);
        const alone = await run(policy, input, [tokens[row]]);
        assert.ok(maxDifference(alone.logits, rowOf(policy, batch, row, length)) < TOLERANCE);
        assert.ok(Math.abs(alone.value[0] - batch.value[row]) < TOLERANCE);
      }
    }
  });
}

Deno.test("positions of the two conventions give different logits", async () => {
  await useDevice("wasm");
  const results = [];
  for (const decodePositions of ["natural", "openpi"] as const) {
    using policy = makePolicy({ variant: { ...MICRO, decodePositions } });
    const input = policy.prepareInput(makeObservations(1, 1));
    results.push(await run(policy, input, randomTokens(2, [4], 100)));
  }
  assert.ok(maxDifference(results[0].logits, results[1].logits) > 1e-3);
});

Deno.test("changing a token changes later predictions and no earlier one", async () => {
  await useDevice("wasm");
  using policy = makePolicy();
  const V = policy.network.fastVocab;
  const input = policy.prepareInput(makeObservations(5, 2));
  const tokens = randomTokens(6, [8, 8], V);
  const before = await run(policy, input, tokens);
  for (const at of [0, 3, 6]) {
    const changed = tokens.map((row) => row.map((t, s) => (s === at ? (t + 1) % V : t)));
    const after = await run(policy, input, changed);
    for (let row = 0; row < 2; row++) {
      const [a, b] = [before, after].map((r) => rowOf(policy, r, row, 8));
      const predicted = (at + 1) * V; // token `at` is an input of all that follow it
      assert.ok(maxDifference(a.slice(0, predicted), b.slice(0, predicted)) < 1e-6);
      for (let s = at + 1; s < 8; s++) {
        const range = [s * V, (s + 1) * V] as const;
        assert.ok(maxDifference(a.slice(...range), b.slice(...range)) > 1e-5, `token ${s}`);
      }
    }
  }
});

function withPixel(image: RgbImage): RgbImage {
  const data = image.data.slice();
  data[500] = data[500] < 128 ? 255 : 0;
  return { ...image, data };
}

Deno.test("a pixel of any camera and a word of the prompt change every prediction of their row", async () => {
  await useDevice("wasm");
  using policy = makePolicy();
  const V = policy.network.fastVocab;
  const input = policy.prepareInput(makeObservations(7, 2));
  const tokens = randomTokens(8, [4, 4], V);
  const before = await run(policy, input, tokens);
  const prompts = input.ids.prompts.map((p) => p.slice());
  prompts[0][1] = 9;
  const variations = [
    ...[0, 1, 2].map((camera) => ({
      ...input,
      images: input.images.map((image, i) => (i === camera ? withPixel(image) : image)),
    })),
    { ...input, ids: { ...input.ids, prompts } },
  ];
  for (const variation of variations) {
    const after = await run(policy, variation, tokens);
    for (let s = 0; s < 4; s++) {
      const [a, b] = [before, after].map((r) => r.logits.slice(s * V, (s + 1) * V));
      assert.ok(maxDifference(a, b) > 1e-5);
    }
    assert.ok(Math.abs(before.value[0] - after.value[0]) > 1e-6);
    const others = [before, after].map((r) => rowOf(policy, r, 1, 4));
    assert.ok(maxDifference(others[0], others[1]) < 1e-6, "the other row stays");
  }
});

Deno.test("what stands in the padding behind a short chunk has no effect", async () => {
  await useDevice("wasm");
  for (const valueInput of ["observation", "chunk"] as const) {
    using policy = makePolicy({ valueInput });
    const input = policy.prepareInput(makeObservations(9, 2));
    const [long, short, other] = randomTokens(10, [9, 3, 6], policy.network.fastVocab);
    const a = await run(policy, input, [long, short]);
    // The tokens that follow are really fed: a row has no other kind of padding than tokens.
    const b = await run(policy, input, [long, Int32Array.from([...short, ...other])]);
    const rows = [a, b].map((r) => rowOf(policy, r, 1, 3));
    assert.ok(maxDifference(rows[0], rows[1]) < 1e-6);
  }
});

Deno.test("the observation critic does not read action tokens, the chunk critic does", async () => {
  await useDevice("wasm");
  for (const valueInput of ["observation", "chunk"] as const) {
    using policy = makePolicy({ valueInput });
    const input = policy.prepareInput(makeObservations(11, 1));
    const [a, b] = randomTokens(12, [6, 6], policy.network.fastVocab);
    const values = [
      (await run(policy, input, [a])).value[0],
      (await run(policy, input, [b])).value[0],
    ];
    const difference = Math.abs(values[0] - values[1]);
    assert.ok(valueInput === "chunk" ? difference > 1e-5 : difference < 1e-6, valueInput);
  }
});

Deno.test("the chunk critic reads maxValueSteps tokens and no more", async () => {
  await useDevice("wasm");
  using policy = makePolicy({ valueInput: "chunk", maxValueSteps: 4 });
  const V = policy.network.fastVocab;
  const input = policy.prepareInput(makeObservations(13, 1));
  const [tokens] = randomTokens(14, [9], V);
  const valueWith = async (at: number) => {
    const changed = tokens.map((t, s) => (s === at ? (t + 1) % V : t));
    return (await run(policy, input, [changed])).value[0];
  };
  const value = (await run(policy, input, [tokens])).value[0];
  // The state that predicts token 3 is the fourth and has read tokens 0, 1 and 2.
  for (const at of [0, 1, 2]) {
    assert.ok(Math.abs(await valueWith(at) - value) > 1e-6, `token ${at}`);
  }
  for (const at of [3, 4, 8]) {
    assert.ok(Math.abs(await valueWith(at) - value) < 1e-7, `token ${at}`);
  }
});

Deno.test("imageTensor() maps 0–255 to −1…1 and refuses pictures of another size", async () => {
  await useDevice("cpu");
  const image = {
    width: 2,
    height: 2,
    data: Uint8Array.from({ length: 12 }, (_, i) => 255 * (i % 2)),
  };
  const values = await take(imageTensor([image], 2));
  assert.deepEqual([...values], image.data.reduce<number[]>((all, x) => [...all, x ? 1 : -1], []));
  assert.throws(() => imageTensor([image], 28), {
    name: "RangeError",
    message: "The policy sees 28×28 pictures, this one is 2×2",
  });
  assert.throws(() => imageTensor([{ ...image, data: image.data.slice(3) }], 2), {
    message: "A 2×2 picture has 12 bytes, this one has 9",
  });
});

Deno.test("startDecoding() frees everything when a readback fails", async () => {
  await useDevice("cpu");
  using policy = makePolicy({ valueInput: "observation" });
  const input = policy.prepareInput(makeObservations(1, 2));
  const backend = tf.backend();
  const { read } = backend;
  const before = countTensors();
  try {
    // Logits are read first, then values, then the logits of each token that is fed.
    for (const failing of [0, 1, 2]) {
      let reads = 0;
      backend.read = (id) =>
        reads++ === failing
          ? Promise.reject(new Error("the device is lost"))
          : read.call(backend, id);
      await assert.rejects(async () => {
        using decoding = await startDecoding(policy.network, input, 4);
        await decoding.feed([0, 0]);
      }, /the device is lost/);
      assert.equal(countTensors(), before, `read ${failing}`);
    }
  } finally {
    backend.read = read;
  }
});

for (const device of ["cpu", "wasm"] as const) {
  Deno.test(`keepRows() goes on with some rows as if the others were there on ${device}`, async () => {
    await useDevice(device);
    using policy = makePolicy();
    const input = policy.prepareInput(makeObservations(1, 3));
    const V = policy.network.fastVocab;
    const before = countTensors();
    {
      using all = await startDecoding(policy.network, input, 5);
      using some = await startDecoding(policy.network, input, 5);
      const rowsOf = (rows: readonly number[]) =>
        rows.flatMap((row) => [...all.logits.slice(row * V, (row + 1) * V)]);
      await all.feed([3, 1, 4]);
      await some.feed([3, 1, 4]);
      some.keepRows([2, 0]);
      assert.deepEqual([...some.logits], rowsOf([2, 0]));
      await all.feed([1, 5, 9]);
      await some.feed([9, 1]);
      assert.ok(maxDifference(some.logits, rowsOf([2, 0])) < TOLERANCE);
      some.keepRows([1]);
      await all.feed([2, 6, 5]);
      await some.feed([2]);
      assert.ok(maxDifference(some.logits, rowsOf([0])) < TOLERANCE);
      assert.deepEqual(some.values, all.values);
    }
    assert.equal(countTensors(), before);
  });
}

Deno.test("keepRows() is refused where the critic reads the states of all rows", async () => {
  await useDevice("cpu");
  using policy = makePolicy({ valueInput: "chunk" });
  using decoding = await startDecoding(
    policy.network,
    policy.prepareInput(makeObservations(1, 2)),
    2,
  );
  assert.throws(() => decoding.keepRows([0]), {
    name: "RangeError",
    message: "Cannot leave rows: the chunk critic reads the states of all",
  });
});
