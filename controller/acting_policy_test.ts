import assert from "node:assert/strict";
import { closeGpu, currentGpu, useGpu } from "../common/device/current_gpu.ts";
import { DeviceSupervisor } from "../common/device/device_supervisor.ts";
import { GpuLostError } from "../common/device/errors.ts";
import { whyNoWebgpu } from "../common/device/testing.ts";
import { useDevice } from "../common/policy/backend.ts";
import { readWeights } from "../common/policy/load.ts";
import {
  countTensors,
  makeObservations,
  makePolicy,
  maxDifference,
} from "../common/policy/testing.ts";
import { seededRandom } from "../common/random.ts";
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

function supervise(changes: { openGpu?: () => Promise<unknown>; maxRebuilds?: number } = {}) {
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
for (const [maxRebuilds, where] of [[1, "webgpu"], [0, "wasm"]] as const) {
  Deno.test(`the control loop goes on in ${where} after its GPU was lost in mid-chunk`, {
    ignore,
  }, async () => {
    await useDevice("cpu");
    await useGpu({ allowSoftware: true });
    const stop = new AbortController();
    const supervisor = supervise({
      openGpu: () => useGpu({ allowSoftware: true }),
      maxRebuilds,
    });
    using acting = new ActingPolicy(makePolicy(), {
      load: () => Promise.resolve(makePolicy()),
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
    const chunks: string[] = [];
    let calls = 0;
    await runControlLoop({
      runner: {
        times: rollout.times,
        advance: (policy, version) => {
          const advancing = rollout.advance(policy, version);
          // In the midst of the second round's first chunk.
          if (++calls === 2) currentGpu()!.device.destroy();
          return advancing;
        },
      },
      policy: () => acting.ready(),
      assign: () => assert.fail("no weights come"),
      recover: (lost) => acting.recover(lost),
      sink: NOBODY,
      policyVersion: 0,
      onChunks: (transitions) => {
        chunks.push(...transitions.map(({ chunkId }) => chunkId));
        if (chunks.length >= 6) stop.abort();
      },
      signal: stop.signal,
    });
    assert.equal(supervisor.device, where);
    assert.deepEqual(chunks, [
      ...["episode-0.0", "episode-1.0", "episode-0.1", "episode-1.1"],
      ...["episode-2.0", "episode-3.0"],
    ], "the chunk that was lost is inferred again; none is missing");
    const expected = makePolicy();
    const options = { temperature: 1, random: () => 0.5 };
    const [seen] = [makeObservations(3, 1)];
    const [again] = await (await acting.ready()).sampleActions(seen, options);
    const [chunk] = await expected.sampleActions(seen, options);
    assert.deepEqual(again.tokens, chunk.tokens);
    assert.ok(maxDifference([again.logProb], [chunk.logProb]) < 2e-3);
    expected[Symbol.dispose]();
    await closeGpu();
    await useDevice("cpu");
  });
}
