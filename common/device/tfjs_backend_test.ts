import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import {
  countTensors,
  makeObservations,
  makePolicy,
  maxDifference,
  MICRO_LORA,
} from "../policy/testing.ts";
import { seededRandom } from "../random.ts";
import type { HostTensor } from "../types.ts";
import { allocateBuffers, STORAGE_USAGE } from "./allocate_buffers.ts";
import { closeGpu, currentGpu, useGpu } from "./current_gpu.ts";
import { DeviceSupervisor } from "./device_supervisor.ts";
import { GpuLostError } from "./errors.ts";
import { whyNoWebgpu } from "./testing.ts";
import { tellGpuFaults } from "./tell_gpu_faults.ts";
import { TFJS_WEBGPU } from "./tfjs_backend.ts";

const reason = await whyNoWebgpu();
if (reason) console.log(`Tests of tfjs on our device are skipped: ${reason}.`);

/** More numbers than tfjs computes on the CPU rather than bother the GPU. */
const MANY = 4096;

/** Run a test on a GPU of its own; nothing of it is left afterwards. */
function onGpu(name: string, run: () => Promise<void>): void {
  Deno.test(name, { ignore: reason !== undefined }, async () => {
    await useDevice("cpu");
    const before = countTensors();
    try {
      await useGpu({ allowSoftware: true });
      await run();
      assert.equal(countTensors(), before);
    } finally {
      await closeGpu();
      await useDevice("cpu");
    }
  });
}

onGpu("tfjs computes on our device, gradients too", async () => {
  assert.equal(tf.getBackend(), TFJS_WEBGPU);
  const x = tf.fill([MANY], 3);
  const gradient = tf.grad((y) => tf.sum(tf.mul(tf.square(y), 0.5)))(x);
  assert.ok((await gradient.data()).every((value) => value === 3));
  tf.dispose([x, gradient]);
});

onGpu("tfjs and kernels of our own share a buffer", async () => {
  const gpu = currentGpu()!;
  const request = { label: "shared", bytes: 4 * MANY, usage: STORAGE_USAGE };
  const [buffer] = await allocateBuffers(gpu, [request]);
  gpu.device.queue.writeBuffer(buffer, 0, Float32Array.from({ length: MANY }, (_, i) => i));
  const shared = tf.tensor({ buffer, zeroCopy: true }, [MANY], "float32");
  const doubled = tf.mul(shared, 2);
  assert.ok((await doubled.data()).every((value, i) => value === 2 * i));
  tf.dispose([shared, doubled]);
  buffer.destroy();
});

onGpu("a value is not read from tfjs when the device refused a command before", async () => {
  const gpu = currentGpu()!;
  const x = tf.fill([MANY], 1);
  const y = tf.add(x, 1);
  gpu.device.createBuffer({ size: 2 ** 40, usage: GPUBufferUsage.STORAGE });
  await assert.rejects(y.data(), /refused 1 command, so what was computed .* is void/);
  const z = tf.add(x, 1);
  assert.equal((await z.data())[MANY - 1], 2, "what comes after is sound");
  tf.dispose([x, y, z]);
});

onGpu("a tensor too large for a binding is an error, not zeros", async () => {
  const { maxBindingBytes } = currentGpu()!.limits;
  if (maxBindingBytes > 2 ** 27) return; // Too much for a test.
  const x = tf.fill([maxBindingBytes / 4 + 1024], 1);
  const y = tf.sum(x);
  await assert.rejects(y.data(), /refused \d+ commands?, so .*the first: .*exceeds/);
  tf.dispose([x, y]);
});

onGpu("useGpu() goes on with a device that lives, and replaces one that is lost", async () => {
  const first = currentGpu()!;
  assert.equal(await useGpu({ allowSoftware: true }), first);
  const x = tf.tidy(() => tf.variable(tf.fill([MANY], 1)));
  first.device.destroy();
  const compute = () => tf.tidy(() => tf.add(x, 1)).data();
  await assert.rejects(tellGpuFaults(compute), GpuLostError);
  const second = await useGpu({ allowSoftware: true });
  assert.notEqual(second, first);
  tf.tidy(() => x.assign(tf.fill([MANY], 5)));
  const y = tf.add(x, 1);
  assert.equal((await y.data())[0], 6);
  tf.disposeVariables();
  y.dispose();
});

for (const maxRebuilds of [1, 0]) {
  const where = maxRebuilds === 0 ? "wasm" : "webgpu";
  onGpu(`a policy that loses its device in mid-chunk goes on in ${where}`, async () => {
    using policy = makePolicy({ variant: MICRO_LORA });
    const weights: readonly [HostTensor[], HostTensor[]] = [
      await policy.network.backbone.toHost(),
      await policy.network.valueHead.toHost(),
    ];
    const observations = makeObservations(3, 2);
    const sample = () =>
      policy.sampleActions(observations, { temperature: 1, random: seededRandom(7) });
    const expected = await sample();
    const before = countTensors();

    const said: string[] = [];
    const logger = { info: assert.fail, error: assert.fail, warn: (s: string) => said.push(s) };
    const supervisor = new DeviceSupervisor({
      openGpu: () => useGpu({ allowSoftware: true }),
      useWasm: async () => {
        await closeGpu();
        await useDevice("wasm");
      },
      parameterCount: 1e5,
      maxRebuilds,
      now: () => 0,
      logger,
    });
    supervisor.onRebuilt((device) => {
      assert.equal(tf.getBackend(), device);
      policy.network.backbone.assign(weights[0]);
      policy.network.valueHead.assign(weights[1]);
      return Promise.resolve();
    });

    const sampling = sample();
    currentGpu()!.device.destroy();
    const error = await sampling.then(() => null, (error: unknown) => error);
    assert.ok(error instanceof GpuLostError, String(error));
    assert.equal(countTensors(), before, "the chunk that was begun leaves nothing behind");
    assert.equal(await supervisor.recover(error), where);
    assert.equal(said.length, 1);
    const again = await sample();
    assert.deepEqual(again.map((chunk) => chunk.tokens), expected.map((chunk) => chunk.tokens));
    const logProbs = again.map((chunk) => chunk.logProb);
    assert.ok(maxDifference(logProbs, expected.map((chunk) => chunk.logProb)) < 2e-3);
    assert.equal(countTensors(), before);
  });
}
