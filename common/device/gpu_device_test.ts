import assert from "node:assert/strict";
import { yieldToEventLoop } from "../yield_to_event_loop.ts";
import { describeAdapter } from "./adapter_info.ts";
import { GpuUnavailableError, type UnavailableKind } from "./errors.ts";
import { openGpuDevice } from "./gpu_device.ts";
import { FAKE_LIMITS, FakeGpu, openAny, whyNoWebgpu } from "./testing.ts";

const reason = await whyNoWebgpu();
if (reason) console.log(`Tests of the GPU device are skipped: ${reason}.`);
const onGpu = { ignore: reason !== undefined };

const unavailable = (kind: UnavailableKind, message: string) => (error: unknown) => {
  assert.ok(error instanceof GpuUnavailableError);
  assert.deepEqual([error.kind, error.message], [kind, message]);
  return true;
};

Deno.test("openGpuDevice() asks for every feature and the adapter's limits", async () => {
  const gpu = new FakeGpu({ granted: ["subgroups"] });
  using opened = await openGpuDevice({ allowSoftware: false, gpu });
  assert.deepEqual(opened.info, { name: "Some GPU 4000", vendor: "NVIDIA", isSoftware: false });
  assert.deepEqual(opened.features, { hasF16: true, hasSubgroups: true, hasTimestamps: true });
  assert.deepEqual(opened.limits, {
    maxBindingBytes: FAKE_LIMITS.maxStorageBufferBindingSize,
    maxBufferBytes: FAKE_LIMITS.maxBufferSize,
    bindingAlignment: 32,
  });
  assert.equal(gpu.requests[0].requiredLimits?.maxBufferSize, FAKE_LIMITS.maxBufferSize);
});

Deno.test("openGpuDevice() does without features that the adapter has not", async () => {
  const gpu = new FakeGpu({ listed: ["timestamp-query"] });
  using opened = await openGpuDevice({ allowSoftware: false, gpu });
  assert.deepEqual(opened.features, { hasF16: false, hasSubgroups: false, hasTimestamps: true });
  assert.deepEqual(gpu.requests.map((r) => r.requiredFeatures), [
    ["timestamp-query", "subgroups"],
    ["timestamp-query"],
  ]);
});

Deno.test("openGpuDevice() names a required feature that is missing, and keeps no device", async () => {
  const gpu = new FakeGpu({ listed: [] });
  await assert.rejects(
    openGpuDevice({ allowSoftware: false, required: ["f16", "subgroups"], gpu }),
    unavailable(
      "missing-feature",
      "Cannot open a GPU: Some GPU 4000 lacks shader-f16, subgroups; update its driver or use " +
        "--device wasm",
    ),
  );
  assert.equal((await gpu.devices[0].lost).message, "device was lost");
});

Deno.test("openGpuDevice() says what to do when there is no adapter", async () => {
  const gpu = { requestAdapter: () => Promise.resolve(null) };
  await assert.rejects(
    openGpuDevice({ allowSoftware: true, gpu }),
    unavailable(
      "no-adapter",
      "Cannot open a GPU: no WebGPU adapter was found; install a Vulkan driver (Debian: " +
        "mesa-vulkan-drivers) or use --device wasm",
    ),
  );
});

Deno.test("openGpuDevice() refuses a software renderer unless it was asked for", async () => {
  const gpu = new FakeGpu({ description: "llvmpipe (LLVM 15)" });
  await assert.rejects(
    openGpuDevice({ allowSoftware: false, gpu }),
    unavailable(
      "software",
      "Cannot open a GPU: the only WebGPU adapter found is the software renderer llvmpipe (LLVM " +
        "15); install the GPU's own Vulkan driver, choose it with VK_DRIVER_FILES, or ask for the " +
        "software renderer with --device webgpu",
    ),
  );
  assert.equal(gpu.requests.length, 0);
  using opened = await openGpuDevice({ allowSoftware: true, gpu });
  assert.equal(opened.info.isSoftware, true);
});

Deno.test("openGpuDevice() keeps the driver's reason when it gives no device", async () => {
  const gpu = new FakeGpu({ granted: ["subgroups"], refusals: ["busy", "still busy"] });
  await assert.rejects(
    openGpuDevice({ allowSoftware: false, gpu }),
    unavailable(
      "request-failed",
      "Cannot open a GPU: Some GPU 4000 gave no device (still busy); close other programs that " +
        "use it, update its driver, or use --device wasm",
    ),
  );
});

Deno.test("describeAdapter() takes what a driver leaves empty from the next best field", () => {
  const info = { vendor: "77", device: "", description: "", architecture: "" };
  const described = { name: "77", vendor: "77", isSoftware: false };
  assert.deepEqual(
    describeAdapter({ ...info, isFallbackAdapter: false } as GPUAdapterInfo),
    described,
  );
  assert.equal(
    describeAdapter({ ...info, vendor: "", isFallbackAdapter: true } as GPUAdapterInfo).name,
    "without a name",
  );
});

Deno.test("check() throws what the device refused, once", onGpu, async () => {
  using gpu = await openAny();
  gpu.check();
  for (let i = 0; i < 2; i++) {
    gpu.device.createBuffer({ size: 2 ** 40, usage: GPUBufferUsage.STORAGE });
  }
  await readBack(gpu.device);
  assert.throws(() => gpu.check(), {
    message: /^The GPU .+ refused 2 commands, so .+ is void; the first: .*1099511627776/,
  });
  gpu.check();
});

Deno.test("check() tells memory that is full from other refusals", async () => {
  using gpu = await openGpuDevice({ allowSoftware: false, gpu: new FakeGpu() });
  const error = new GPUOutOfMemoryError("Not enough memory left");
  gpu.device.dispatchEvent(Object.assign(new Event("uncapturederror"), { error }));
  assert.throws(() => gpu.check(), {
    name: "GpuMemoryError",
    message: "The GPU Some GPU 4000 has no room left (Not enough memory left): close other " +
      "programs that use it, or use a smaller policy or fewer bits a weight",
  });
  gpu.check();
});

Deno.test("check() sees a buffer that is bound beyond the binding limit", onGpu, async () => {
  using gpu = await openAny();
  const { device } = gpu;
  const code = "@group(0) @binding(0) var<storage, read_write> o: array<f32>;\n" +
    "@compute @workgroup_size(1) fn main() { o[0] += 1.0; }";
  const module = device.createShaderModule({ code });
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
  const size = gpu.limits.maxBindingBytes + 4;
  if (size > gpu.limits.maxBufferBytes || size > 2 ** 28) return; // Too much for a test.
  const buffer = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE });
  device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer } }],
  });
  await readBack(device);
  assert.throws(() => gpu.check(), /refused 1 command, so .*exceeds/);
});

Deno.test("a device that is destroyed in the middle of work is lost", onGpu, async () => {
  using gpu = await openAny();
  assert.equal(gpu.isLost, false);
  gpu.device.destroy();
  assert.ok((await gpu.lost).length > 0);
  assert.equal(gpu.isLost, true);
  for (let i = 0; i < 2; i++) {
    assert.throws(() => gpu.check(), {
      name: "GpuLostError",
      message: /^The GPU .+ is lost \(.+\): what was on it must be uploaded to a new device$/,
    });
  }
});

Deno.test("a lost device says why, and errors before it are void", async () => {
  const fake = new FakeGpu();
  using gpu = await openGpuDevice({ allowSoftware: false, gpu: fake });
  fake.devices[0].lose("the driver has crashed");
  await yieldToEventLoop();
  assert.throws(() => gpu.check(), {
    message: "The GPU Some GPU 4000 is lost (the driver has crashed): what was on it must be " +
      "uploaded to a new device",
  });
});

Deno.test("a device that was closed is not to be used any more", async () => {
  const gpu = await openGpuDevice({ allowSoftware: false, gpu: new FakeGpu() });
  gpu[Symbol.dispose]();
  assert.throws(() => gpu.check(), { name: "GpuLostError", message: /it was closed/ });
  gpu[Symbol.dispose]();
});

/** Wait for everything that was submitted, as a reader of results does. */
async function readBack(device: GPUDevice): Promise<void> {
  const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
  const buffer = device.createBuffer({ size: 16, usage });
  await buffer.mapAsync(GPUMapMode.READ);
  buffer.destroy();
}
