/**
 * A whole controller on a GPU that has something wrong with it.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Config } from "../common/config/config.ts";
import { PRESETS } from "../common/config/presets.ts";
import { closeGpu, currentGpu } from "../common/device/current_gpu.ts";
import { whyNoWebgpu } from "../common/device/testing.ts";
import { useDevice } from "../common/policy/backend.ts";
import { runController } from "./run.ts";

const reason = await whyNoWebgpu();
if (reason) console.log(`Tests of a controller on a GPU are skipped: ${reason}.`);
const ignore = reason !== undefined;

const CONFIG: Config = {
  ...PRESETS.demo,
  device: "webgpu",
  precision: "int8",
  numEnvs: 1,
  controllerPort: 0,
  learnerUrl: "ws://127.0.0.1:1/ws", // nobody is there: the controller acts all the same
};

/** What `/status` tells. */
interface Status {
  readonly chunks: number;
  readonly decoder: string;
  readonly precision: string;
  readonly gpu: string | null;
  readonly chunkMs: Readonly<Record<string, number | null>> | null;
}

/** A controller that runs, watched from outside. */
interface Watched {
  /** Its lines so far. */
  readonly lines: readonly string[];
  /** Ask it until a claim about its status holds. */
  until(claim: (status: Status) => boolean): Promise<Status>;
  /** Its metrics. */
  metrics(): Promise<string>;
}

/** Run a controller in this process until a test has seen enough of it. */
async function watch(
  changes: Partial<Config>,
  test: (controller: Watched) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const listening = Promise.withResolvers<string>();
  const lines: string[] = [];
  const take = (line: string) => void lines.push(line);
  let hasEnded = false;
  const running = runController({ ...CONFIG, ...changes }, {
    robot: { kind: "simulated" },
    controllerId: "test",
    token: null,
    logger: { info: take, warn: take, error: take },
    signal: stop.signal,
    onListening: listening.resolve,
  });
  running.then(() => hasEnded = true, (error) => {
    hasEnded = true;
    listening.reject(error);
  });
  try {
    const url = await listening.promise;
    const get = async (path: string) => await (await fetch(url + path)).text();
    await test({
      lines,
      async until(claim) {
        for (;;) {
          if (hasEnded) await running;
          const status = JSON.parse(await get("/status"));
          if (claim(status)) return status;
        }
      },
      metrics: () => get("/metrics"),
    });
  } finally {
    stop.abort();
    await running.catch(() => {});
    await closeGpu();
    await useDevice("cpu");
  }
}

/** Let the program find another `navigator.gpu` for the time of a test. */
async function withNavigatorGpu(
  gpu: Pick<GPU, "requestAdapter">,
  test: () => Promise<void>,
): Promise<void> {
  Object.defineProperty(navigator, "gpu", { configurable: true, value: gpu });
  try {
    await test();
  } finally {
    Reflect.deleteProperty(navigator, "gpu");
  }
}

/** The adapter that there is, with devices that a test has changed. */
function changedGpu(
  change: (device: GPUDevice, count: number) => unknown,
): Pick<GPU, "requestAdapter"> {
  const { gpu } = navigator;
  let count = 0;
  return {
    async requestAdapter(options?: GPURequestAdapterOptions) {
      const adapter = await gpu.requestAdapter(options);
      if (!adapter) return null;
      const request = adapter.requestDevice.bind(adapter);
      adapter.requestDevice = async (descriptor) => {
        const device = await request(descriptor);
        change(device, count++);
        return device;
      };
      return adapter;
    },
  };
}

Deno.test("a controller with the engine tells where and with what it computes", {
  ignore,
}, async () => {
  await watch({}, async ({ lines, until, metrics }) => {
    const status = await until(({ chunks, chunkMs }) => chunks >= 2 && chunkMs !== null);
    assert.deepEqual([status.decoder, status.precision], ["engine", "int8"]);
    assert.ok(status.gpu);
    assert.ok(status.chunkMs!.all! > 0);
    assert.ok(
      lines.some((line) =>
        /; computing on webgpu \(.+\) in int8 with the decode engine \(/.test(line)
      ),
      lines.join("\n"),
    );
    const text = await metrics();
    assert.match(text, /^tendon_controller_policy_info\{decoder="engine",precision="int8",gpu=/m);
    assert.match(text, /^tendon_controller_chunk_ms\{part="all"\} \d/m);
  });
});

Deno.test("a controller with no adapter, or none that gives a device, says so and ends", async () => {
  const none = { requestAdapter: () => Promise.resolve(null) };
  await withNavigatorGpu(none, async () => {
    await assert.rejects(watch({}, () => assert.fail("it runs")), {
      message: /^Cannot use --device webgpu: no WebGPU adapter was found; install a Vulkan driver/,
    });
    await assert.rejects(
      watch({ device: "auto", decoder: "engine" }, () => assert.fail("it runs")),
      {
        message:
          "Cannot use --decoder engine: it runs on a GPU, and tensors are computed on wasm " +
          "(auto found no GPU to use: no WebGPU adapter was found); use --device webgpu, or " +
          "--decoder tfjs",
      },
    );
  });
});

Deno.test("a controller on an adapter without any optional feature acts with the engine", {
  ignore,
}, async () => {
  const { gpu } = navigator;
  const plain = {
    async requestAdapter(options?: GPURequestAdapterOptions) {
      const adapter = (await gpu.requestAdapter(options))!;
      Object.defineProperty(adapter, "features", { value: new Set() });
      const request = adapter.requestDevice.bind(adapter);
      adapter.requestDevice = (descriptor) =>
        [...descriptor?.requiredFeatures ?? []].length > 0
          ? Promise.reject(new TypeError("There are none"))
          : request(descriptor);
      return adapter;
    },
  };
  await withNavigatorGpu(plain, () =>
    watch({}, async ({ until }) => {
      const { decoder, chunkMs } = await until(({ chunks }) => chunks >= 2);
      assert.equal(decoder, "engine");
      assert.equal(chunkMs!.vision, null, "there is no clock");
    }));
});

Deno.test("a controller on a device whose kernels take few buffers leaves decoding to tfjs", {
  ignore,
}, async () => {
  const narrow = () =>
    changedGpu((device) => {
      const { limits } = device;
      const proxy = new Proxy(limits, {
        get: (target, name) =>
          name === "maxStorageBuffersPerShaderStage" ? 4 : Reflect.get(target, name, target),
      });
      Object.defineProperty(device, "limits", { value: proxy });
    });
  await withNavigatorGpu(narrow(), () =>
    watch({}, async ({ lines, until }) => {
      const { decoder } = await until(({ chunks }) => chunks >= 1);
      assert.equal(decoder, "webgpu");
      assert.match(
        lines.join("\n"),
        /tfjs decodes the chunks, not the engine\. .+ 4 storage buffers/,
      );
    }));
  await withNavigatorGpu(
    narrow(),
    () =>
      assert.rejects(watch({ decoder: "engine" }, () => assert.fail("it runs")), {
        message: /^Cannot use --decoder engine, only tfjs\. .+ binds 4 storage buffers/,
      }),
  );
});

Deno.test("a controller whose GPU has no room for a small policy goes on in WebAssembly", {
  ignore,
}, async () => {
  const full = changedGpu((device) => {
    const pop = device.popErrorScope.bind(device);
    device.popErrorScope = async () => {
      await pop();
      return new GPUOutOfMemoryError("Not enough memory left");
    };
  });
  await withNavigatorGpu(full, () =>
    watch({}, async ({ lines, until }) => {
      const { decoder, gpu } = await until(({ chunks }) => chunks >= 1);
      assert.deepEqual([decoder, gpu], ["wasm", null]);
      assert.match(
        lines.join("\n"),
        /has no room for \d+ bytes \(Not enough memory left\); .+; the policy is small and goes on in/,
      );
      assert.match(lines.join("\n"), /computing on wasm \(.+ has no room\) in int8\n/);
    }));
});

Deno.test("a controller that loses its GPU again and again rebuilds it, then does without", {
  ignore,
}, async () => {
  // The second device is lost as soon as it is there, in the midst of loading.
  const frail = changedGpu((device, count) => count === 1 && device.destroy());
  await withNavigatorGpu(frail, () =>
    watch({}, async ({ lines, until }) => {
      let { chunks } = await until((status) => status.chunks >= 1);
      for (const [i, end] of [/ rebuild 2 of/, / rebuild 3 of/, / goes on in Web/].entries()) {
        currentGpu()!.device.destroy();
        await until(() => lines.some((line) => end.test(line)));
        const status = await until((now) => now.chunks > chunks + 1);
        chunks = status.chunks;
        assert.equal(status.decoder, i < 2 ? "engine" : "wasm");
      }
      assert.match(lines.join("\n"), /is lost \(.+\): .+: done, rebuild 3 of at most 3\n/);
      assert.match(lines.join("\n"), /lost 4 times within 60 min: the policy goes on in Web/);
    }));
});
