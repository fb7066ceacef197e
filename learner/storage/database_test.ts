import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { LearnerDatabase, type NewEpisode } from "./database.ts";
import { MIGRATIONS } from "./schema.ts";

const RUN = { runId: "run-1", name: "reach", config: { seed: 3 }, startedAtMs: 1000 };

function episode(index: number, changes: Partial<NewEpisode> = {}): NewEpisode {
  return {
    episodeId: `episode-${index}`,
    runId: "run-1",
    reward: index / 2,
    humanReward: index / 4,
    steps: 100 + index,
    isSuccess: index % 2 === 0,
    policyVersion: index,
    finishedAtMs: 2000 + index,
    ...changes,
  };
}

async function inTempFile(body: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(`${folder}/tendon.sqlite`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("LearnerDatabase keeps runs, episodes and checkpoints in a file", async () => {
  await inTempFile(async (path) => {
    const first = new LearnerDatabase(`sqlite:${path}`);
    await first.startRun(RUN);
    await first.recordEpisodes([episode(1), episode(2)]);
    await first.recordCheckpoint({
      path: "checkpoints/reach/step_10",
      runId: "run-1",
      step: 10,
      policyVersion: 11,
      createdAtMs: 3000,
    });
    await first.endRun("run-1", "completed", 4000);
    await first.close();

    const second = new LearnerDatabase(`sqlite:${path}`);
    assert.deepEqual((await second.runs()).map((row) => ({ ...row })), [{
      run_id: "run-1",
      name: "reach",
      config: '{"seed":3}',
      started_at: 1000,
      ended_at: 4000,
      outcome: "completed",
    }]);
    const [latest] = await second.episodes("run-1", 1);
    assert.deepEqual({ ...latest }, {
      episode_id: "episode-2",
      run_id: "run-1",
      reward: 1,
      human_reward: 0.5,
      steps: 102,
      is_success: 1,
      policy_version: 2,
      finished_at: 2002,
    });
    assert.equal((await second.checkpoints("run-1"))[0].policy_version, 11);
    await second.close();
  });
});

Deno.test("LearnerDatabase keeps an update's rewards by who gave them", async () => {
  const database = new LearnerDatabase("sqlite::memory:");
  await database.startRun(RUN);
  const numbers = { rewardEnvironment: 1.5, rewardHuman: -0.5, rewardIntrinsic: 0.25, chunks: 8 };
  const update = { runId: "run-1", step: 1, policyVersion: 4, finishedAtMs: 5000, ...numbers };
  await database.recordUpdate(update);
  await database.recordUpdate({ ...update, step: 2 });
  await assert.rejects(database.recordUpdate(update), /UNIQUE/);
  const rows = await database.updates("run-1");
  assert.deepEqual(rows.map(({ step }) => step), [2, 1]);
  assert.deepEqual({ ...rows[1] }, {
    run_id: "run-1",
    step: 1,
    policy_version: 4,
    chunks: 8,
    reward_environment: 1.5,
    reward_human: -0.5,
    reward_intrinsic: 0.25,
    finished_at: 5000,
  });
  await database.close();
});

Deno.test("LearnerDatabase brings a file of the first release up to date", async () => {
  await inTempFile(async (path) => {
    const old = new DatabaseSync(path);
    old.exec(MIGRATIONS[0]);
    old.exec(`PRAGMA user_version = 1;
      INSERT INTO runs VALUES ('run-1', 'reach', '{}', 1, NULL, NULL);
      INSERT INTO episodes VALUES ('episode-0', 'run-1', 2.5, 40, 1, 3, 9)`);
    old.close();
    const database = new LearnerDatabase(`sqlite:${path}`);
    const [row] = await database.episodes("run-1");
    assert.deepEqual([row.reward, row.human_reward], [2.5, 0]);
    assert.deepEqual(await database.updates("run-1"), []);
    await database.close();
  });
});

Deno.test("LearnerDatabase keeps committed rows when the process dies without closing", async () => {
  await inTempFile(async (path) => {
    const killed = new LearnerDatabase(`sqlite:${path}`);
    await killed.startRun(RUN);
    await killed.recordEpisodes([episode(1)]);
    // What a reader finds while nothing has been closed is what a killed process leaves behind.
    const copy = `${path}.copy`;
    await Deno.copyFile(path, copy);
    await Deno.copyFile(`${path}-wal`, `${copy}-wal`);
    const after = new LearnerDatabase(`sqlite:${copy}`);
    assert.equal((await after.runs())[0].outcome, null);
    assert.equal((await after.summarizeEpisodes("run-1")).episodes, 1);
    await after.close();
    await killed.close();
  });
});

Deno.test("LearnerDatabase counts an episode once", async () => {
  const database = new LearnerDatabase("sqlite::memory:");
  await database.startRun(RUN);
  await database.recordEpisodes([episode(1), episode(2)]);
  await database.recordEpisodes([episode(2, { reward: 99 }), episode(3)]);
  await database.recordEpisodes([]);
  assert.deepEqual(await database.summarizeEpisodes("run-1"), {
    episodes: 3,
    successes: 1,
    meanReward: 1,
  });
  assert.deepEqual(await database.summarizeEpisodes("other"), {
    episodes: 0,
    successes: 0,
    meanReward: 0,
  });
  await database.close();
});

Deno.test("LearnerDatabase records more episodes than a statement holds", async () => {
  const database = new LearnerDatabase("sqlite::memory:");
  await database.startRun(RUN);
  await database.recordEpisodes(Array.from({ length: 2500 }, (_, index) => episode(index)));
  assert.equal((await database.summarizeEpisodes("run-1")).episodes, 2500);
  await database.close();
});

Deno.test("LearnerDatabase refuses rows of a run that was never started", async () => {
  const database = new LearnerDatabase("sqlite::memory:");
  await assert.rejects(database.recordEpisodes([episode(1)]), /FOREIGN KEY/);
  await assert.rejects(database.endRun("run-9", "failed", 1), /"run-9": it was never started/);
  await database.startRun(RUN);
  await assert.rejects(database.startRun(RUN), /UNIQUE/);
  await database.close();
});

Deno.test("LearnerDatabase says in a sentence what it cannot open", async () => {
  await inTempFile(async (path) => {
    assert.throws(() => new LearnerDatabase("postgres://u:secret@h/d"), (error: unknown) => {
      assert.ok(error instanceof RangeError);
      assert.match(error.message, /only SQLite is embedded for now/);
      assert.ok(!error.message.includes("secret"));
      return true;
    });
    assert.throws(() => new LearnerDatabase("mysql:x"), /it must be sqlite:<path>/);
    assert.throws(() => new LearnerDatabase("sqlite:"), /it must be sqlite:<path>/);
    assert.throws(
      () => new LearnerDatabase("sqlite:/nowhere/x.db"),
      /Cannot open the database \/now/,
    );
    await Deno.writeTextFile(path, "this is no database, just text of some length. ".repeat(10));
    assert.throws(() => new LearnerDatabase(`sqlite:${path}`), /Cannot open the database .*not a/);
  });
});

Deno.test("LearnerDatabase refuses a file of a newer release", async () => {
  await inTempFile((path) => {
    const newer = new DatabaseSync(path);
    newer.exec("PRAGMA user_version = 99");
    newer.close();
    assert.throws(() => new LearnerDatabase(`sqlite:${path}`), /schema version 99, this release/);
    return Promise.resolve();
  });
});
