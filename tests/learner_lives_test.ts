/**
 * A learner that is stopped before its first update, resumed, and then set back to an older checkpoint:
 * what becomes of chunks, and of the weights that controllers have. Over a real socket.
 *
 * @module
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { inspectCheckpoint } from "../common/checkpoint/checkpoint.ts";
import type { Config } from "../common/config/config.ts";
import { PRESETS } from "../common/config/presets.ts";
import { useDevice } from "../common/policy/backend.ts";
import { SHIPPED_CHECKPOINTS } from "../common/policy/choose_checkpoint.ts";
import { loadPolicy, policySignature } from "../common/policy/load.ts";
import { makeObservations } from "../common/policy/testing.ts";
import { normal, seededRandom } from "../common/random.ts";
import type { ChunkTransition } from "../common/types.ts";
import { LearnerLink } from "../controller/learner_link.ts";
import { type LearnerSummary, runLearner } from "../learner/run.ts";
import { LineLogger } from "../learner/server/testing.ts";
import { makeTransition } from "../learner/testing.ts";

const DEADLINE_MS = 20_000;

const SETTINGS: Config = {
  ...PRESETS.debug,
  device: "wasm",
  expName: "lives",
  port: 0,
  wandb: false,
  updates: 1,
  chunksPerUpdate: 3,
  batchSize: 3,
  epochs: 1,
  trainScope: "value_head",
};

/** What the learner's policy answers, one chunk an episode; the rest of a controller is not needed. */
async function sampleChunks(count: number) {
  await useDevice("wasm");
  const random = seededRandom(3);
  const [, checkpoint] = SHIPPED_CHECKPOINTS;
  using policy = (await loadPolicy(checkpoint, { ...SETTINGS, normal: () => normal(random) }))
    .policy;
  const observations = makeObservations(5, count, policy.shape.variant.siglip.imageSize);
  const sampled = await policy.sampleActions(observations, { temperature: 1, random });
  const chunks = sampled.map(({ actions: _actions, entropy: _entropy, ...chunk }, i) =>
    makeTransition({
      episodeId: `episode-${i}`,
      observation: observations[i],
      isTerminal: true,
      ...chunk,
    })
  );
  return { chunks, signature: policySignature(policy, SETTINGS.temperature) };
}

/** A learner in this process. */
class Life implements AsyncDisposable {
  readonly logger = new LineLogger();
  readonly #stop = new AbortController();
  readonly #listening = Promise.withResolvers<string>();
  readonly #summary: Promise<LearnerSummary>;

  constructor(config: Config) {
    this.#summary = runLearner(config, {
      token: null,
      wandbApiKey: undefined,
      command: "the tests",
      logger: this.logger,
      signal: this.#stop.signal,
      onListening: this.#listening.resolve,
    });
    this.#summary.catch(this.#listening.reject);
  }

  get url(): Promise<string> {
    return this.#listening.promise;
  }

  end(): Promise<LearnerSummary> {
    return this.#summary;
  }

  stop(): Promise<LearnerSummary> {
    this.#stop.abort(new Error("stopped by a test"));
    return this.#summary;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => {});
  }
}

/** A controller that sends what it is given, and waits until the learner has answered all of it. */
async function connect(life: Life, signature: Record<string, string>) {
  const url = new URL("/ws", (await life.url).replace("http", "ws"));
  const logger = new LineLogger();
  const link = new LearnerLink({
    url: url.href,
    controllerId: "bench-1",
    signature,
    random: () => 0.5,
    logger,
  });
  link.connect();
  const expect = async (what: string, claim: () => boolean) =>
    assert.ok(await link.until(claim, DEADLINE_MS), `${what}: ${logger.lines.join("\n")}`);
  return {
    link,
    expect,
    lines: logger.lines,
    async send(...chunks: ChunkTransition[]) {
      for (const chunk of chunks) link.send(chunk);
      await expect("answered", () => link.counts().queued === 0);
    },
    [Symbol.asyncDispose]: () => link.close(),
  };
}

Deno.test("a learner's acknowledged chunks and its version numbers outlive it", async (t) => {
  const checkpointDir = await Deno.makeTempDir();
  try {
    const { chunks, signature } = await sampleChunks(5);
    const config = { ...SETTINGS, checkpointDir };
    const resumed = { ...config, resume: true };
    const folder = join(checkpointDir, config.expName);

    await t.step("stopped before the first update it saves them", async () => {
      await using life = new Life(config);
      await using controller = await connect(life, signature);
      await controller.send(...chunks.slice(0, 2));
      assert.equal(controller.link.counts().acked, 2);
      const { checkpoint, updates } = await life.stop();
      assert.deepEqual([checkpoint, updates], [join(folder, "step_0"), 0]);
      const line = `2 chunks wait in ${checkpoint}; --resume goes on with them`;
      assert.ok(life.logger.lines.includes(line), life.logger.lines.join("\n"));
      assert.deepEqual((await inspectCheckpoint(checkpoint!)).training.metrics, {});
    });

    await t.step("resumed it trains on them, and tells who sent one that is unfit", async () => {
      await using life = new Life(resumed);
      await using controller = await connect(life, signature);
      // The first one comes a second time: its answer might have been lost.
      const { tokens, logProb, tokenLogProbs } = makeTransition();
      await controller.send(chunks[0], { ...chunks[2], tokens, logProb, tokenLogProbs });
      assert.equal(controller.link.counts().duplicates, 1);
      const summary = await life.end();
      assert.deepEqual([summary.updates, summary.chunksTrained], [1, 3]);
      // The sender of the one that cannot have been sampled is told, after it was acknowledged.
      await controller.expect("refused", () => controller.link.counts().refused === 1);
      assert.equal(controller.link.counts().acked, 2);
      const told = /^The learner says: Cannot train on chunk "episode-2\.0": /;
      assert.ok(controller.lines.some((line) => told.test(line)), controller.lines.join("\n"));
    });

    await t.step("set back to an older checkpoint it gives no version number twice", async () => {
      // As if it had been killed while it wrote the checkpoint of version 1.
      await Deno.remove(join(folder, "step_1"), { recursive: true });
      await using life = new Life(resumed);
      await using controller = await connect(life, signature);
      const lost = { ...chunks[3], policyVersion: 1 };
      await controller.send(lost);
      assert.equal(controller.link.counts().refused, 1);
      let version: number | undefined;
      await controller.expect(
        "weights",
        () => (version ??= controller.link.takeLatestWeights()?.version) !== undefined,
      );
      assert.equal(version, 2);
      const metrics = await (await fetch(`${await life.url}/metrics`)).text();
      assert.match(metrics, /^tendon_learner_chunks_refused_total\{reason="lost_version"\} 1$/m);
      await controller.send({ ...chunks[4], policyVersion: 2 });
      const { policyVersion, chunksTrained, updates } = await life.end();
      assert.deepEqual([policyVersion, chunksTrained, updates], [3, 3, 1]);
      const line =
        "Versions 1 to 1 were published after this checkpoint and are lost: the checkpoint's " +
        "weights go on as version 2";
      assert.ok(life.logger.lines.includes(line), life.logger.lines.join("\n"));
    });

    await t.step(
      "a new run of the same name takes no chunk of the earlier one's versions",
      async () => {
        await using life = new Life(config);
        await using controller = await connect(life, signature);
        await controller.send({ ...chunks[3], episodeId: "late", policyVersion: 2 });
        assert.equal(controller.link.counts().refused, 1);
        await controller.send({ ...chunks[4], episodeId: "new", policyVersion: 4 });
        assert.equal(controller.link.counts().acked, 1);
        const line =
          "Versions 1 to 3 were published by an earlier run of this name and are lost: the " +
          "checkpoint's weights go on as version 4";
        assert.ok(life.logger.lines.includes(line), life.logger.lines.join("\n"));
      },
    );
  } finally {
    await Deno.remove(checkpointDir, { recursive: true });
  }
});
