import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { closeGpu, useGpu } from "../device/current_gpu.ts";
import { GpuMemoryError } from "../device/errors.ts";
import { whyNoWebgpu } from "../device/testing.ts";
import type { Logger } from "../types.ts";
import { type ChosenDevice, useDevice } from "./backend.ts";
import type { LoadedPolicy } from "./load.ts";
import { loadOnDevice } from "./load_on_device.ts";
import { countTensors, makePolicy } from "./testing.ts";

const onGpu = { ignore: (await whyNoWebgpu()) !== undefined };
const FULL = new GpuMemoryError("It is full");

/** A logger, and what it was told. */
function listen(): { readonly logger: Logger; readonly lines: string[] } {
  const lines: string[] = [];
  return { lines, logger: { info: () => {}, warn: (line) => lines.push(line), error: () => {} } };
}

function loadedPolicy(): LoadedPolicy {
  // The rest of it is handed on unseen.
  return {
    policy: makePolicy(),
    notes: [],
    initialization: "checkpoint",
  } as unknown as LoadedPolicy;
}

async function onSoftware(test: (device: ChosenDevice) => Promise<void>): Promise<void> {
  await useDevice("cpu");
  const before = countTensors();
  const gpu = await useGpu({ allowSoftware: true });
  try {
    await test({ backend: "webgpu", reason: "a test", gpu });
    assert.equal(countTensors(), before);
  } finally {
    await closeGpu();
    await useDevice("cpu");
  }
}

Deno.test("loadOnDevice() loads once without a GPU, and samples nothing", async () => {
  const { backend, reason } = await useDevice("cpu");
  const device = { backend, reason };
  const loaded = loadedPolicy();
  using policy = loaded.policy;
  policy.sampleActions = () => assert.fail("nothing is to be sampled");
  const load = () => Promise.resolve(loaded);
  const { logger } = listen();
  const result = await loadOnDevice({ device, variant: "tiny", load, logger });
  assert.deepEqual(result, { loaded, device });
});

Deno.test(
  "loadOnDevice() goes on in WebAssembly where a GPU is full, if the policy is small",
  onGpu,
  () =>
    onSoftware(async (device) => {
      const { logger, lines } = listen();
      let loads = 0;
      const load = () => loads++ === 0 ? Promise.reject(FULL) : Promise.resolve(loadedPolicy());
      const result = await loadOnDevice({ device, variant: "tiny", load, logger });
      result.loaded.policy[Symbol.dispose]();
      assert.equal(tf.getBackend(), "wasm");
      assert.equal(result.device.backend, "wasm");
      assert.match(result.device.reason, /has no room$/);
      assert.deepEqual(lines, ["It is full; the policy is small and goes on in WebAssembly"]);
    }),
);

Deno.test(
  "loadOnDevice() notices memory that is full in the first chunk",
  onGpu,
  () =>
    onSoftware(async (device) => {
      const { logger, lines } = listen();
      let loads = 0;
      const load = () => {
        const loaded = loadedPolicy();
        if (loads++ === 0) loaded.policy.sampleActions = () => Promise.reject(FULL);
        return Promise.resolve(loaded);
      };
      const result = await loadOnDevice({ device, variant: "tiny", load, logger });
      result.loaded.policy[Symbol.dispose]();
      assert.equal(tf.getBackend(), "wasm");
      assert.equal(lines.length, 1);
    }),
);

Deno.test(
  "loadOnDevice() ends where a large policy finds no room, and with what else goes wrong",
  onGpu,
  () =>
    onSoftware(async (device) => {
      const { logger } = listen();
      const options = { device, logger, load: () => Promise.reject(FULL) };
      await assert.rejects(loadOnDevice({ ...options, variant: "gemma_2b" }), FULL);
      assert.equal(tf.getBackend(), "webgpu");
      const load = () => {
        const loaded = loadedPolicy();
        loaded.policy.sampleActions = () => Promise.reject(new Error("The weights are broken"));
        return Promise.resolve(loaded);
      };
      await assert.rejects(
        loadOnDevice({ ...options, variant: "tiny", load }),
        /The weights are broken/,
      );
    }),
);
