import assert from "node:assert/strict";
import { allocateBuffers, STORAGE_USAGE } from "./allocate_buffers.ts";
import { copyBandwidth, recordReads } from "./copy_bandwidth.ts";
import { openGpuDevice } from "./gpu_device.ts";
import { FakeGpu, openAny, whyNoWebgpu } from "./testing.ts";
import { timeGpu } from "./time_gpu.ts";

const onGpu = { ignore: (await whyNoWebgpu()) !== undefined };
const QUICK = { repeats: 1, minMs: 1, maxRuns: 4 };
const WORDS = 2 ** 18;

const request = (label: string, bytes: number) => ({ label, bytes, usage: STORAGE_USAGE });

Deno.test("copyBandwidth() measures a copy and a read", onGpu, async () => {
  using gpu = await openAny();
  const { bytes, copyGBps, readGBps } = await copyBandwidth(gpu, 4 * WORDS, QUICK);
  assert.equal(bytes, 4 * WORDS);
  for (const rate of [copyGBps, readGBps]) assert.ok(rate > 0 && Number.isFinite(rate));
});

Deno.test("copyBandwidth() refuses sizes that are no whole words", async () => {
  using gpu = await openGpuDevice({ allowSoftware: false, gpu: new FakeGpu() });
  for (const bytes of [0, 8, -16, NaN, 1e300]) {
    await assert.rejects(copyBandwidth(gpu, bytes), /^RangeError: Cannot measure the bandwidth/);
  }
});

Deno.test("copyBandwidth() keeps no buffer when there is no room", async () => {
  const fake = new FakeGpu({ memoryBytes: 2 ** 21 });
  using gpu = await openGpuDevice({ allowSoftware: false, gpu: fake });
  await assert.rejects(copyBandwidth(gpu, 2 ** 20), { name: "GpuMemoryError" });
  assert.equal(fake.devices[0].bytes, 0);
});

Deno.test("the reading kernel reads every word", onGpu, async () => {
  using gpu = await openAny();
  const { device } = gpu;
  const foldedBytes = 4 * 256 * 2048;
  const [source, folded] = await allocateBuffers(gpu, [
    request("source", 4 * WORDS),
    request("folded", foldedBytes),
  ]);
  const values = Uint32Array.from({ length: WORDS }, (_, i) => Math.imul(i + 1, 0x9e3779b1));
  device.queue.writeBuffer(source, 0, values);
  const encoder = device.createCommandEncoder();
  recordReads(device, source, folded)(encoder);
  const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
  const readback = device.createBuffer({ size: foldedBytes, usage });
  encoder.copyBufferToBuffer(folded, 0, readback, 0, foldedBytes);
  device.queue.submit([encoder.finish()]);
  await readback.mapAsync(GPUMapMode.READ);
  const fold = (words: Uint32Array) => words.reduce((all, word) => (all ^ word) >>> 0, 0);
  assert.equal(fold(new Uint32Array(readback.getMappedRange())), fold(values));
  gpu.check();
  for (const buffer of [source, folded, readback]) buffer.destroy();
});

for (const clock of ["gpu", "wall"] as const) {
  Deno.test(
    `timeGpu() puts runs in a row and times them by the ${clock} clock`,
    onGpu,
    async () => {
      using gpu = await openAny();
      const [from, to] = await allocateBuffers(gpu, [
        request("from", 2 ** 20),
        request("to", 2 ** 20),
      ]);
      let recorded = 0;
      const copy = (encoder: GPUCommandEncoder) => {
        recorded++;
        encoder.copyBufferToBuffer(from, 0, to, 0, 2 ** 20);
      };
      const time = await timeGpu(gpu, copy, { repeats: 3, minMs: 5, maxRuns: 64, clock });
      assert.ok(time.ms > 0 && Number.isFinite(time.ms));
      assert.ok(time.runs >= 1 && time.runs <= 64);
      assert.ok(
        recorded >= 1 + 4 * time.runs,
        "once to begin with, once to fit, three times to count",
      );
      if (clock === "wall" || !gpu.features.hasTimestamps) assert.equal(time.clock, "wall");
      for (const buffer of [from, to]) buffer.destroy();
    },
  );
}

Deno.test("timeGpu() tells when the work was refused", onGpu, async () => {
  using gpu = await openAny();
  const [from] = await allocateBuffers(gpu, [request("from", 16)]);
  const wrong = (encoder: GPUCommandEncoder) => encoder.copyBufferToBuffer(from, 0, from, 0, 64);
  await assert.rejects(timeGpu(gpu, wrong, QUICK), /refused \d+ commands?/);
  from.destroy();
});
