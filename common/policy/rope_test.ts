import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "./backend.ts";
import { applyRope, makeRope } from "./rope.ts";
import { maxDifference, normalSource, take } from "./testing.ts";

for (const device of ["cpu", "wasm"] as const) {
  Deno.test(`applyRope() equals the formula on ${device}`, async () => {
    await useDevice(device);
    const [B, T, N, K] = [2, 3, 2, 8];
    const positions = [0, 1, 2, 7, 850, 1001];
    const normal = normalSource(1);
    const x = Float32Array.from({ length: B * T * N * K }, normal);
    const found = await take(
      tf.tidy(() => applyRope(tf.tensor4d(x, [B, T, N, K]), makeRope(positions, [B, T], K))),
    );
    const expected = x.map((_, i) => {
      const j = i % K;
      const half = K / 2;
      const position = positions[Math.floor(i / (N * K))];
      const angle = position / 10_000 ** (2 * (j % half) / K);
      return j < half
        ? x[i] * Math.cos(angle) - x[i + half] * Math.sin(angle)
        : x[i] * Math.cos(angle) + x[i - half] * Math.sin(angle);
    });
    assert.ok(maxDifference(found, expected) < 1e-5);
  });
}

Deno.test("the product of a rotated query and key depends on their distance alone", async () => {
  await useDevice("cpu");
  const normal = normalSource(2);
  const [q, k] = [0, 1].map(() => Float32Array.from({ length: 16 }, normal));
  const score = async (queryAt: number, keyAt: number) =>
    (await take(tf.tidy(() => {
      const at = (x: Float32Array, position: number) =>
        applyRope(tf.tensor4d(x, [1, 1, 1, 16]), makeRope([position], [1, 1], 16));
      return tf.sum(tf.mul(at(q, queryAt), at(k, keyAt)));
    })))[0];
  assert.ok(Math.abs(await score(9, 4) - await score(105, 100)) < 1e-4);
  assert.ok(Math.abs(await score(9, 4) - await score(9, 5)) > 1e-3);
});
