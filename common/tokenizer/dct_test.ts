import assert from "node:assert/strict";
import { dct, inverseDct } from "./dct.ts";
import { makeChunks, readFixture } from "./testing.ts";

Deno.test("dct() equals scipy's", () => {
  const { dctInput, dctOutput } = readFixture<Record<string, number[]>>("numbers.json");
  const ours = dct(Float64Array.from(dctInput), 16, 14);
  for (let i = 0; i < ours.length; i++) assert.ok(Math.abs(ours[i] - dctOutput[i]) < 1e-12);
});

Deno.test("inverseDct() undoes dct() for every horizon", () => {
  for (const horizon of [1, 2, 3, 10, 16, 50]) {
    const [chunk] = makeChunks(horizon, 1, horizon, 3);
    const back = inverseDct(dct(chunk, horizon, 3), horizon, 3);
    for (let i = 0; i < back.length; i++) assert.ok(Math.abs(back[i] - chunk[i]) < 1e-12);
  }
});

Deno.test("dct() refuses a chunk of another shape", () => {
  assert.throws(() => dct(new Float32Array(11), 4, 3), {
    name: "RangeError",
    message: /holds 11 values, but horizon 4 × action dimension 3 needs 12/,
  });
  assert.throws(() => dct(new Float32Array(0), 0, 3), /horizon is 0/);
  assert.throws(() => inverseDct(new Float64Array(5), 5, -1), RangeError);
});
