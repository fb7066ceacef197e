import assert from "node:assert/strict";
import { closeGpu, currentGpu, useGpu } from "../common/device/current_gpu.ts";
import {
  DeviceSupervisor,
  type DeviceSupervisorOptions,
} from "../common/device/device_supervisor.ts";
import { GpuLostError } from "../common/device/errors.ts";
import { whyNoWebgpu } from "../common/device/testing.ts";
import { makeActingPolicy, withGpu } from "../common/engine/testing_policy.ts";
import { useDevice } from "../common/policy/backend.ts";
import { assignWeights, readWeights } from "../common/policy/load.ts";
import {
  countTensors,
  HORIZON,
  makeObservations,
  makePolicy,
  maxDifference,
} from "../common/policy/testing.ts";
import { seededRandom } from "../common/random.ts";
import type { ChunkTransition } from "../common/types.ts";
import { ActingPolicy } from "./acting_policy.ts";
import { type ChunkSink, type NewWeights, runControlLoop } from "./control_loop.ts";
import { Rollout } from "./rollout.ts";
import { countedEpisodes, ScriptedRobot } from "./testing.ts";

const NOBODY: ChunkSink = {
  takeLatestWeights: () => null,
  hasCapacity: () => true,
  send: () => {},
  until: () => Promise.resolve(true),
};
const quiet = { info: () => {}, warn: () => {}, error: () => {} };
const LOST = new GpuLostError("Some GPU 4000", "device was lost");

function supervise(changes: Partial<DeviceSupervisorOptions> = {}) {
  return new DeviceSupervisor({
    openGpu: () => Promise.resolve(),
    useWasm: () => useDevice("wasm"),
    parameterCount: 1e5,
    now: () => 0,
    logger: quiet,
    ...changes,
  });
}

Deno.test("ActingPolicy is loaded again after a loss, with the newest weights, and leaks nothing", async () => {
  await useDevice("wasm");
  const before = countTensors();
  using other = makePolicy({}, 77);
  const newest: NewWeights = { version: 5, tensors: await readWeights(other) };
  {
    let isLost = false;
    using acting = new ActingPolicy(makePolicy(), {
      load: () => Promise.resolve(makePolicy()),
      checkDevice: () => {
        if (!isLost) return;
        isLost = false;
        throw LOST;
      },
      supervisor: supervise(),
    });
    const first = await acting.ready();
    assert.equal(await acting.ready(), first);
    acting.assign(newest);
    isLost = true;
    const second = await acting.ready();
    assert.notEqual(second, first);
    assert.deepEqual(await readWeights(second), newest.tensors);
    await acting.recover(LOST);
    assert.notEqual(await acting.ready(), second);
    assert.deepEqual(await readWeights(await acting.ready()), newest.tensors);
  }
  other[Symbol.dispose]();
  assert.equal(countTensors(), before);
});

Deno.test("ActingPolicy does not write a tensor again that is the very same", async () => {
  await useDevice("wasm");
  const policy = makePolicy();
  using acting = new ActingPolicy(policy, {
    load: () => assert.fail("nothing to load"),
    checkDevice: () => {},
    supervisor: supervise(),
  });
  const [frozen, ...trained] = await readWeights(policy);
  acting.assign({ version: 1, tensors: [frozen, ...trained] });
  // Changed behind its back, to see whether it is written.
  assignWeights(policy, [{ ...frozen, data: new Float32Array(frozen.data.length) }]);
  const newer = trained.map((tensor) => ({ ...tensor, data: tensor.data.map((x) => x + 1) }));
  acting.assign({ version: 2, tensors: [frozen, ...newer] });
  const [first, ...others] = await readWeights(policy);
  assert.ok(first.data.every((x) => x === 0));
  assert.deepEqual(others, newer);
});

Deno.test("ActingPolicy lets pass what is no loss", async () => {
  await useDevice("wasm");
  const checkDevice = () => assert.fail("refused 1 command");
  using acting = new ActingPolicy(makePolicy(), {
    load: () => assert.fail("nothing to load"),
    checkDevice,
    supervisor: supervise(),
  });
  await assert.rejects(acting.ready(), /refused 1 command/);
});

const ignore = (await whyNoWebgpu()) !== undefined;
const CASES = [
  { hasEngine: false, maxRebuilds: 1, where: "webgpu" },
  { hasEngine: true, maxRebuilds: 1, where: "webgpu" },
  { hasEngine: true, maxRebuilds: 0, where: "wasm" },
] as const;
for (const { hasEngine, maxRebuilds, where } of CASES) {
  const decoder = hasEngine ? "the engine" : "tfjs";
  Deno.test(`the control loop goes on in ${where} after ${decoder} lost its GPU in mid-chunk`, {
    ignore,
  }, () =>
    withGpu(async () => {
      const newest = makePolicy({}, 77);
      const weights: NewWeights = { version: 5, tensors: await readWeights(newest) };
      const stop = new AbortController();
      const supervisor = supervise({
        openGpu: () => useGpu({ allowSoftware: true }),
        useWasm: async () => {
          await closeGpu();
          await useDevice("wasm");
        },
        maxRebuilds,
      });
      // As chooseDecoder() does: an engine where there is a GPU.
      const storage = { precision: "float32" } as const;
      const load = () =>
        makeActingPolicy({ hasEngine: hasEngine && currentGpu() !== null, storage });
      using acting = new ActingPolicy(await load(), {
        load,
        checkDevice: () => currentGpu()?.check(),
        supervisor,
      });
      const robots = [1, 2].map(() => new ScriptedRobot(() => ({ steps: 6, end: "timeout" })));
      const rollout = new Rollout({
        robots,
        nextEpisode: countedEpisodes(),
        temperature: 1,
        random: seededRandom(1),
      });
      const chunks: ChunkTransition[] = [];
      let calls = 0;
      await runControlLoop({
        runner: {
          times: rollout.times,
          advance: (policy, version) => {
            const advancing = rollout.advance(policy, version);
            if (++calls !== 2) return advancing;
            // In the midst of the second round's first chunk: the robots hold still.
            const before = robots.map(({ actions }) => actions.length);
            const device = currentGpu()!.device;
            setTimeout(() => device.destroy());
            return advancing.finally(() =>
              assert.deepEqual(robots.map(({ actions }) => actions.length), before)
            );
          },
        },
        policy: () => acting.ready(),
        assign: (given) => acting.assign(given),
        recover: (lost) => acting.recover(lost),
        sink: { ...NOBODY, takeLatestWeights: () => calls === 0 ? weights : null },
        policyVersion: 0,
        onChunks: (transitions) => {
          chunks.push(...transitions);
          if (chunks.length >= 6) stop.abort();
        },
        signal: stop.signal,
      });
      assert.equal(supervisor.device, where);
      assert.deepEqual(chunks.map(({ chunkId }) => chunkId), [
        ...["episode-0.0", "episode-1.0", "episode-0.1", "episode-1.1"],
        ...["episode-2.0", "episode-3.0"],
      ], "the chunk that was lost is inferred again; none is missing");
      const before = hasEngine ? "engine" : "webgpu";
      const after = where === "webgpu" ? before : "wasm";
      assert.deepEqual(
        chunks.map(({ behaviour }) => behaviour.decoder),
        [before, before, after, after, after, after],
      );
      assert.ok(chunks.every(({ policyVersion }) => policyVersion === 5));
      // The newest weights act again.
      const seen = makeObservations(3, 1);
      const options = { temperature: 0, random: () => 0.5 };
      const [again] = await (await acting.ready()).sampleActions(seen, options);
      await useDevice("wasm");
      using expected = makePolicy({}, 77);
      const [chunk] = await expected.sampleActions(seen, options);
      assert.deepEqual(again.tokens, chunk.tokens);
      assert.ok(maxDifference([again.logProb], [chunk.logProb]) < 2e-3);
      newest[Symbol.dispose]();
    }));
}

for (const hasEngine of [false, true]) {
  for (
    const [broken, precision, error] of [
      ["PaliGemma/llm/final_norm/scale", "float32", "NonFiniteError"],
      ["value_head/dense_1/bias", "float32", "NonFiniteError"],
      // Few bits cannot hold it, so it is noticed before it computes anything.
      ["PaliGemma/llm/layers/mlp/linear", "int8", "RangeError"],
    ] as const
  ) {
    const decoder = hasEngine ? "the engine" : "tfjs";
    Deno.test(`a NaN in the learner's ${broken} ends the run of ${decoder} and moves nothing`, {
      ignore: ignore && hasEngine,
    }, async () => {
      const storage = { precision };
      const run = async () => {
        const policy = await makeActingPolicy({ hasEngine, storage });
        const learner = makePolicy({}, 5);
        const tensors = (await readWeights(learner)).map((tensor) =>
          tensor.name.endsWith(broken) ? { ...tensor, data: tensor.data.map(() => NaN) } : tensor
        );
        learner[Symbol.dispose]();
        const robot = new ScriptedRobot(() => ({ steps: 6, end: "timeout" }));
        const rollout = new Rollout({
          robots: [robot],
          nextEpisode: countedEpisodes(),
          temperature: 1,
          random: seededRandom(1),
        });
        using acting = new ActingPolicy(policy, {
          load: () => assert.fail("nothing to load"),
          checkDevice: () => currentGpu()?.check(),
          supervisor: supervise(),
        });
        let chunks = 0;
        const running = runControlLoop({
          runner: rollout,
          policy: () => acting.ready(),
          assign: (given) => acting.assign(given),
          sink: {
            ...NOBODY,
            takeLatestWeights: () => chunks === 1 ? { version: 9, tensors } : null,
          },
          policyVersion: 0,
          onChunks: () => void chunks++,
          signal: new AbortController().signal,
        });
        await assert.rejects(running, { name: error });
        assert.equal(chunks, 1);
        assert.equal(robot.actions.length, HORIZON, "only the first chunk was executed");
      };
      if (hasEngine) return await withGpu(run);
      await useDevice("wasm");
      await run();
    });
  }
}
