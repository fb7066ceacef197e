import assert from "node:assert/strict";
import { allocateBuffers, STORAGE_USAGE } from "./allocate_buffers.ts";
import { arithmeticRate, recordMultiplyAdds } from "./arithmetic_rate.ts";
import { openGpuDevice } from "./gpu_device.ts";
import { FakeGpu, openAny, whyNoWebgpu } from "./testing.ts";

const onGpu = { ignore: (await whyNoWebgpu()) !== undefined };

Deno.test("arithmeticRate() measures a rate", onGpu, async () => {
  using gpu = await openAny();
  const { teraflops } = await arithmeticRate(gpu, { repeats: 1, minMs: 1, maxRuns: 1 });
  assert.ok(teraflops > 1e-4 && teraflops < 1e4, `${teraflops} TFLOP/s`);
});

Deno.test("arithmeticRate() keeps no buffer when there is no room", async () => {
  const fake = new FakeGpu({ memoryBytes: 2 ** 20 });
  using gpu = await openGpuDevice({ allowSoftware: false, gpu: fake });
  await assert.rejects(arithmeticRate(gpu), { name: "GpuMemoryError" });
  assert.equal(fake.devices[0].bytes, 0);
});

Deno.test("the multiplying kernel does every round", onGpu, async () => {
  using gpu = await openAny();
  const { device } = gpu;
  const rounds = 5;
  const bytes = 256 * 16;
  const [work, results] = await allocateBuffers(gpu, [
    { label: "work", bytes: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST },
    { label: "results", bytes, usage: STORAGE_USAGE },
  ]);
  device.queue.writeBuffer(work, 0, Uint32Array.of(rounds, 0, 0, 0));
  const encoder = device.createCommandEncoder();
  recordMultiplyAdds(device, work, results, 1)(encoder);
  const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
  const readback = device.createBuffer({ size: bytes, usage });
  encoder.copyBufferToBuffer(results, 0, readback, 0, bytes);
  device.queue.submit([encoder.finish()]);
  await readback.mapAsync(GPUMapMode.READ);
  const found = new Float32Array(readback.getMappedRange());
  // Halves and ones: exact in float32.
  const chain = (x: number) => Array.from({ length: rounds }).reduce<number>((y) => y / 2 + 1, x);
  const expected = Float32Array.from({ length: 4 * 256 }, (_, i) => {
    const start = i % 4 + Math.floor(i / 4) % 4;
    return Array.from({ length: 8 }, (_, j) => chain(start + j)).reduce((a, b) => a + b);
  });
  assert.deepEqual(found, expected);
  gpu.check();
  for (const buffer of [work, results, readback]) buffer.destroy();
});
