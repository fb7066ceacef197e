import assert from "node:assert/strict";
import { seededRandom } from "../../../common/random.ts";
import { injectFaults, NO_FAULTS } from "./faults.ts";

const ANSWER = { bytes: Uint8Array.of(1, 2, 3, 4), atMs: 5 };

Deno.test("injectFaults() lets everything pass without faults", () => {
  assert.deepEqual(injectFaults(ANSWER, NO_FAULTS, seededRandom(1)), [ANSWER]);
});

Deno.test("injectFaults() drops, damages one bit, delays and doubles", () => {
  const random = seededRandom(1);
  assert.deepEqual(injectFaults(ANSWER, { ...NO_FAULTS, drop: 1 }, random), []);
  const late = injectFaults(ANSWER, { ...NO_FAULTS, delay: 1, delayMs: 7 }, random);
  assert.deepEqual(late.map(({ atMs }) => atMs), [12]);
  assert.equal(injectFaults(ANSWER, { ...NO_FAULTS, duplicate: 1 }, random).length, 2);
  for (let i = 0; i < 50; i++) {
    const [{ bytes }] = injectFaults(ANSWER, { ...NO_FAULTS, corrupt: 1 }, random);
    const bits = bytes.reduce((n, byte, at) => {
      return n + (byte ^ ANSWER.bytes[at]).toString(2).replaceAll("0", "").length;
    }, 0);
    assert.equal(bits, 1);
  }
  assert.deepEqual([...ANSWER.bytes], [1, 2, 3, 4]);
});

Deno.test("injectFaults() keeps to its rates", () => {
  const random = seededRandom(2);
  const rates = { ...NO_FAULTS, drop: 0.1 };
  const arrived = Array.from({ length: 5000 }, () => injectFaults(ANSWER, rates, random).length);
  const dropped = arrived.filter((count) => count === 0).length;
  assert.ok(dropped > 400 && dropped < 600, `${dropped} of 5000`);
});
