import assert from "node:assert/strict";
import { allocateBuffers, STORAGE_USAGE } from "./allocate_buffers.ts";
import { openGpuDevice } from "./gpu_device.ts";
import { FakeGpu, openAny, whyNoWebgpu } from "./testing.ts";

const onGpu = { ignore: (await whyNoWebgpu()) !== undefined };
const MIB = 2 ** 20;
const request = (label: string, bytes: number) => ({ label, bytes, usage: STORAGE_USAGE });

Deno.test("allocateBuffers() gives one buffer a request", onGpu, async () => {
  using gpu = await openAny();
  const buffers = await allocateBuffers(gpu, [request("weights", 4), request("cache", MIB)]);
  assert.deepEqual(buffers.map(({ size }) => size), [4, MIB]);
  gpu.check();
  for (const buffer of buffers) buffer.destroy();
});

Deno.test("allocateBuffers() refuses what no buffer of the device may have", onGpu, async () => {
  using gpu = await openAny();
  const { maxBufferBytes } = gpu.limits;
  await assert.rejects(
    allocateBuffers(gpu, [request("scales", 8), request("the embedding", maxBufferBytes + 4)]),
    /^RangeError: Cannot allocate .+ MiB for the embedding: a buffer of .+ takes at most .+ MiB/,
  );
  for (const bytes of [0, -4, 6, NaN, Infinity, 2 ** 60]) {
    await assert.rejects(allocateBuffers(gpu, [request("x", bytes)]), { name: "RangeError" });
  }
  gpu.check();
});

Deno.test("allocateBuffers() keeps nothing when the device has no room for all", async () => {
  const fake = new FakeGpu({ memoryBytes: 100 * MIB });
  using gpu = await openGpuDevice({ allowSoftware: false, gpu: fake });
  const [device] = fake.devices;
  await allocateBuffers(gpu, [request("weights", 60 * MIB)]);
  await assert.rejects(
    allocateBuffers(gpu, [request("the key cache", 30 * MIB), request("logits", 20 * MIB)]),
    {
      name: "GpuMemoryError",
      message: "Cannot allocate 20.0 MiB for logits (50.0 MiB in all) on Some GPU 4000: not " +
        "enough memory left; close other programs that use the GPU, or use a smaller policy or " +
        "fewer bits a weight",
    },
  );
  assert.equal(device.bytes, 60 * MIB);
  await allocateBuffers(gpu, [request("the key cache", 30 * MIB)]);
});

Deno.test("allocateBuffers() on a lost device throws what was lost", async () => {
  const fake = new FakeGpu();
  using gpu = await openGpuDevice({ allowSoftware: false, gpu: fake });
  fake.devices[0].lose("it fell off the bus");
  await gpu.lost;
  await assert.rejects(allocateBuffers(gpu, [request("x", 4)]), { name: "GpuLostError" });
});
