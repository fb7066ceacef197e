import assert from "node:assert/strict";
import { VARIANTS } from "../policy/variants.ts";
import { chunkArithmetic, chunkFloor, type StoredBits } from "./arithmetic.ts";

/** Equal in the digits that a published figure has. */
function assertNear(actual: number, expected: number, digits: number, message = "wrong figure") {
  assert.equal(actual.toFixed(digits), expected.toFixed(digits), message);
}

Deno.test("chunkArithmetic() gives the published figures of the full model", () => {
  const chunk = chunkArithmetic(VARIANTS.gemma_2b);
  assertNear(chunk.prefillFlops / 1e12, 3.47, 2);
  assertNear(chunk.visionFlops / 1e12, 0.66, 2);
  assertNear(50 * chunk.tokenFlops / 1e12, 0.26, 2);
  const tokenGigabytes = (bits: StoredBits, headRows?: number) =>
    chunkArithmetic(VARIANTS.gemma_2b, { bits, headRows }).tokenBytes / 1e9;
  assertNear(tokenGigabytes(16), 5.03, 2);
  assertNear(tokenGigabytes(8), 2.68, 2);
  assertNear(tokenGigabytes(4), 1.43, 2);
  // The head of the FAST ids alone saves about a fifth.
  assertNear(tokenGigabytes(8, 2048) / tokenGigabytes(8), 0.79, 2);
});

Deno.test("chunkArithmetic() counts what the variant keeps in float32, and adapters", () => {
  const { gemma } = VARIANTS.tiny;
  const attention = gemma.depth * 64 * 16 * (2 * 4 + 2);
  const mlp = gemma.depth * 3 * 64 * 192;
  const { prefillBytes } = chunkArithmetic(VARIANTS.tiny);
  assert.equal(prefillBytes, 4 * attention + 1.0625 * mlp);
  assert.equal(chunkArithmetic(VARIANTS.tiny, { bits: 32 }).prefillBytes, 4 * (attention + mlp));

  const plain = chunkArithmetic(VARIANTS.gemma_2b);
  const lora = chunkArithmetic(VARIANTS.gemma_2b_lora);
  // q and out: 8 heads of 2048 + 256; k and v; gate, up and down: 2048 + 16384. All times rank 16.
  const adapters = 18 * 16 * (2 * 8 * 2304 + 2 * 2304 + 3 * 18432);
  assert.equal(lora.tokenBytes - plain.tokenBytes, 4 * adapters);
  assert.equal(lora.tokenFlops - plain.tokenFlops, 2 * adapters);
});

Deno.test("chunkFloor() gives the floors of cards from their datasheets", () => {
  const chunk = chunkArithmetic(VARIANTS.gemma_2b);
  const rtx4090 = chunkFloor(chunk, { teraflops: 82.6, gigabytesPerSecond: 1008 });
  assertNear(rtx4090.chunkMs, 183, 0);
  const h100 = chunkFloor(chunk, { teraflops: 66.9, gigabytesPerSecond: 3350 });
  assertNear(h100.chunkMs, 102, 0);
  assert.ok(rtx4090.visionMs + rtx4090.prefillMs + 50 * rtx4090.tokenMs - rtx4090.chunkMs < 1e-9);
  // A slow memory makes even the prefix a matter of bytes.
  const starved = chunkFloor(chunk, { teraflops: 1000, gigabytesPerSecond: 1 });
  assert.equal(starved.prefillMs, chunk.prefillBytes / 1e6);
});

Deno.test("chunkFloor() refuses rates that are not above 0", () => {
  const chunk = chunkArithmetic(VARIANTS.tiny);
  for (const rates of [[0, 1], [1, NaN]]) {
    const [teraflops, gigabytesPerSecond] = rates;
    assert.throws(() => chunkFloor(chunk, { teraflops, gigabytesPerSecond }), /must be above 0$/);
  }
});
