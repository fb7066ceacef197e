import assert from "node:assert/strict";
import { GpuLostError } from "../common/device/errors.ts";
import { useDevice } from "../common/policy/backend.ts";
import { assignWeights, readWeights } from "../common/policy/load.ts";
import { makePolicy } from "../common/policy/testing.ts";
import { seededRandom } from "../common/random.ts";
import type { ChunkTransition } from "../common/types.ts";
import {
  type ChunkSink,
  type ControlLoopParts,
  type NewWeights,
  runControlLoop,
} from "./control_loop.ts";
import { LearnerLink } from "./learner_link.ts";
import { Rollout } from "./rollout.ts";
import { countedEpisodes, ScriptedRobot } from "./testing.ts";

await useDevice("wasm");

/** A sink that keeps what it gets and offers weights by script. */
class RecordingSink implements ChunkSink {
  readonly sent: ChunkTransition[] = [];
  /** Weights to offer once so many chunks were sent. */
  readonly offers = new Map<number, NewWeights>();
  waits = 0;
  /** Asked before every chunk. */
  hasRoom = () => true;

  takeLatestWeights(): NewWeights | null {
    const offer = this.offers.get(this.sent.length) ?? null;
    this.offers.delete(this.sent.length);
    return offer;
  }
  hasCapacity(): boolean {
    return this.hasRoom();
  }
  send(transition: ChunkTransition): void {
    this.sent.push(transition);
  }
  until(claim: () => boolean): Promise<boolean> {
    this.waits++;
    return Promise.resolve(claim());
  }
}

/** Everything that a loop needs, with two robots whose episodes take 6 steps. */
function makeParts(sink: ChunkSink, chunks: number) {
  const policy = makePolicy();
  const stop = new AbortController();
  const robots = [1, 2].map(() => new ScriptedRobot(() => ({ steps: 6, end: "timeout" })));
  const rollout = new Rollout({
    robots,
    nextEpisode: countedEpisodes(),
    temperature: 1,
    random: seededRandom(1),
  });
  const versions: number[] = [];
  let executed = 0;
  const parts: ControlLoopParts = {
    runner: rollout,
    policy: () => policy,
    assign: ({ tensors }) => assignWeights(policy, tensors),
    sink,
    policyVersion: 3,
    onChunks: (transitions, version) => {
      versions.push(version);
      executed += transitions.length;
      if (executed >= chunks) stop.abort();
    },
    signal: stop.signal,
  };
  return { parts, policy, stop, versions };
}

Deno.test("runControlLoop() sends every chunk and ends with the signal", async () => {
  const sink = new RecordingSink();
  const { parts, policy, versions } = makeParts(sink, 8);
  using _policy = policy;
  await runControlLoop(parts);
  assert.equal(sink.sent.length, 8);
  assert.deepEqual(versions, [3, 3, 3, 3]);
  assert.ok(sink.sent.every((t) => t.policyVersion === 3));
});

Deno.test("runControlLoop() swaps weights between chunks and never within one", async () => {
  const sink = new RecordingSink();
  const { parts, policy, versions } = makeParts(sink, 8);
  using _policy = policy;
  using other = makePolicy({}, 77);
  sink.offers.set(4, { version: 9, tensors: await readWeights(other) });
  using before = makePolicy();
  await runControlLoop(parts);
  assert.deepEqual(versions, [3, 3, 9, 9]);
  // Chunks of version 3 are likely under the old weights as recorded, those of 9 under the new.
  for (const { policyVersion, observation, tokens, logProb } of sink.sent) {
    const sampledBy = policyVersion === 3 ? before : other;
    const [again] = await sampledBy.computeActionChunkLogProb([observation], [tokens]);
    assert.ok(Math.abs(again - logProb) < 1e-4, `version ${policyVersion}: ${again}, ${logProb}`);
  }
});

Deno.test("runControlLoop() tells the runner how much of the run is done, as the weights say", async () => {
  const sink = new RecordingSink();
  const { parts, policy } = makeParts(sink, 8);
  using _policy = policy;
  const tensors = await readWeights(policy);
  sink.offers.set(2, { version: 4, progress: 0.5, tensors });
  sink.offers.set(6, { version: 5, tensors });
  const told: (number | undefined)[] = [];
  const { times } = parts.runner;
  await runControlLoop({
    ...parts,
    runner: {
      times,
      advance: (actor, version, progress) => {
        told.push(progress);
        return parts.runner.advance(actor, version, progress);
      },
    },
  });
  assert.deepEqual(told, [0, 0.5, 0.5, 0]);
});

Deno.test("runControlLoop() waits while there is no capacity, and still takes weights", async () => {
  const sink = new RecordingSink();
  const { parts, policy, versions } = makeParts(sink, 2);
  using _policy = policy;
  using other = makePolicy({}, 5);
  sink.offers.set(0, { version: 4, tensors: await readWeights(other) });
  sink.hasRoom = () => sink.waits >= 3;
  await runControlLoop(parts);
  assert.equal(sink.waits, 3);
  assert.deepEqual(versions, [4]);
});

Deno.test("runControlLoop() ends at once when it is stopped while it waits", async () => {
  const sink = new RecordingSink();
  const { parts, policy, stop } = makeParts(sink, 2);
  using _policy = policy;
  sink.hasRoom = () => {
    if (sink.waits === 2) stop.abort();
    return false;
  };
  await runControlLoop(parts);
  assert.deepEqual(sink.sent, []);
});

Deno.test("runControlLoop() keeps acting while there is no learner", async () => {
  const link = new LearnerLink({
    // Bound by nobody: port 1 takes a privilege that tests do not have.
    url: "ws://127.0.0.1:1/ws",
    controllerId: "alone",
    signature: { model: "micro" },
    random: seededRandom(0),
    logger: { info() {}, warn() {}, error() {} },
    outboxCapacity: 6,
  });
  link.connect();
  const { parts, policy } = makeParts(link, 10);
  using _policy = policy;
  await runControlLoop(parts);
  const { queued, dropped, acked } = link.counts();
  await link.close();
  assert.deepEqual({ queued, dropped, acked }, { queued: 6, dropped: 4, acked: 0 });
});

Deno.test("runControlLoop() ends with a lost GPU where nobody brings the policy back", async () => {
  const { parts, policy } = makeParts(new RecordingSink(), 8);
  using _policy = policy;
  const runner = {
    times: parts.runner.times,
    advance: () => Promise.reject(new GpuLostError("Some GPU 4000", "device was lost")),
  };
  await assert.rejects(runControlLoop({ ...parts, runner }), GpuLostError);
  const recover = () => Promise.reject(new Error("it is too large for wasm"));
  await assert.rejects(runControlLoop({ ...parts, runner, recover }), /too large for wasm/);
});
