import assert from "node:assert/strict";
import fc from "fast-check";
import { openAny, whyNoWebgpu } from "../device/testing.ts";
import { PhaseClock, phaseShares } from "./phase_clock.ts";

Deno.test("phaseShares() gives shares that add up to 1, and none of a clock that cannot be", () => {
  assert.deepEqual(phaseShares([10n, 20n, 50n]), [0.25, 0.75]);
  assert.deepEqual(phaseShares([5n, 5n, 6n]), [0, 1]);
  for (const stamps of [[7n, 7n, 7n], [9n, 8n, 20n], [0n, 0n]]) {
    assert.equal(phaseShares(stamps), null);
  }
  const ticks = fc.array(fc.integer({ min: 0, max: 1e9 }), { minLength: 1, maxLength: 6 });
  fc.assert(fc.property(ticks, (phases) => {
    let at = 1n;
    const stamps = [at, ...phases.map((phase) => at += BigInt(phase))];
    const shares = phaseShares(stamps);
    if (shares === null) return assert.ok(phases.every((phase) => phase === 0));
    assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-9);
  }));
});

Deno.test("PhaseClock tells phases apart, again and again", {
  ignore: (await whyNoWebgpu()) !== undefined,
}, async () => {
  using gpu = await openAny();
  using clock = PhaseClock.open(gpu, 2);
  if (clock === null) return console.log("This adapter has no timestamps.");
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const [from, to] = [1, 2].map(() => gpu.device.createBuffer({ size: 2 ** 24, usage }));
  for (let round = 0; round < 3; round++) {
    clock.mark(0);
    clock.mark(1);
    const encoder = gpu.device.createCommandEncoder();
    for (let i = 0; i < 8; i++) encoder.copyBufferToBuffer(from, 0, to, 0, from.size);
    gpu.device.queue.submit([encoder.finish()]);
    clock.mark(2);
    const shares: number[] | null = await clock.shares();
    assert.ok(shares !== null && shares[1] > shares[0], `the copies took ${shares}`);
  }
  gpu.check();
  for (const buffer of [from, to]) buffer.destroy();
});
