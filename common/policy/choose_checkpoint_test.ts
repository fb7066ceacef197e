import assert from "node:assert/strict";
import { sampleContent, sampleInfo, TempDir } from "../checkpoint/testing.ts";
import { checkpointPath, writeCheckpoint } from "../checkpoint/checkpoint.ts";
import { chooseCheckpoint, SHIPPED_CHECKPOINTS } from "./choose_checkpoint.ts";

/** What the sample checkpoint's model is, with nothing to start from. */
const config = (checkpointDir: string) => ({
  resume: false,
  checkpoint: "",
  checkpointDir,
  expName: "trial",
  variant: "tiny" as const,
  actionDim: 14 as const,
  horizon: 16,
  maxTokenLen: 80,
});

Deno.test("chooseCheckpoint() resumes the experiment's newest checkpoint", async () => {
  using folder = new TempDir();
  for (const step of [3, 12]) {
    await writeCheckpoint(
      checkpointPath(folder.path, "trial", step),
      sampleContent({ info: sampleInfo({ step }) }),
    );
  }
  const choice = await chooseCheckpoint({ ...config(folder.path), resume: true });
  assert.equal(choice.path, checkpointPath(folder.path, "trial", 12));
  assert.equal(choice.metadata.step, 12);
  assert.equal(choice.reason, "resuming");
  assert.deepEqual(choice.notes, []);
});

Deno.test("chooseCheckpoint() passes over a damaged newest checkpoint and says so", async () => {
  using folder = new TempDir();
  for (const step of [3, 12]) {
    await writeCheckpoint(
      checkpointPath(folder.path, "trial", step),
      sampleContent({ info: sampleInfo({ step }) }),
    );
  }
  const newest = checkpointPath(folder.path, "trial", 12);
  await Deno.remove(`${newest}/metadata.json`);
  const choice = await chooseCheckpoint({ ...config(folder.path), resume: true });
  assert.equal(choice.metadata.step, 3);
  assert.equal(choice.notes.length, 1);
  assert.ok(choice.notes[0].includes(newest), choice.notes[0]);
});

Deno.test("chooseCheckpoint() says so when there is nothing to resume", async () => {
  using folder = new TempDir();
  await assert.rejects(chooseCheckpoint({ ...config(folder.path), resume: true }), {
    name: "CheckpointError",
    message: `Cannot resume: there is no checkpoint of experiment trial in ${folder.path}; ` +
      "leave --resume out to start it.",
  });
});

Deno.test("chooseCheckpoint() takes the one that was named, if it fits", async () => {
  using folder = new TempDir();
  const checkpoint = checkpointPath(folder.path, "elsewhere", 5);
  await writeCheckpoint(checkpoint, sampleContent());
  const choice = await chooseCheckpoint({ ...config(folder.path), checkpoint });
  assert.deepEqual([choice.path, choice.reason], [checkpoint, "starting from"]);
  const other = { ...config(folder.path), checkpoint, actionDim: 7 as const, horizon: 10 };
  await assert.rejects(chooseCheckpoint(other), {
    name: "CheckpointError",
    message:
      `Cannot use checkpoint ${checkpoint}: its actionDim is 14, the configuration says 7, ` +
      "its horizon is 16, the configuration says 10; set the flags to match, or choose another " +
      "checkpoint.",
  });
});

Deno.test("chooseCheckpoint() names a checkpoint that is not there", async () => {
  using folder = new TempDir();
  const checkpoint = `${folder.path}/nothing`;
  await assert.rejects(
    chooseCheckpoint({ ...config(folder.path), checkpoint }),
    (error: Error) => error.name === "CheckpointError" && error.message.includes(checkpoint),
  );
});

Deno.test("chooseCheckpoint() says which shape no shipped checkpoint has", async () => {
  using folder = new TempDir();
  await assert.rejects(
    chooseCheckpoint({ ...config(folder.path), horizon: 31 }),
    // Where one is not there, its absence is what is said.
    (error: Error) =>
      error.name === "CheckpointError" &&
      (SHIPPED_CHECKPOINTS.some((path) => error.message.includes(path)) ||
        error.message === "No checkpoint ships for variant tiny, actionDim 14, horizon 31, " +
            "maxTokenLen 80: give one with --checkpoint, or make one with deno task pretrain."),
  );
});

Deno.test("chooseCheckpoint() takes the shipped one of the task, or another that fits", async () => {
  using folder = new TempDir();
  const shipped = { ...config(folder.path), horizon: 10, maxTokenLen: 64 };
  for (const task of ["reach", "transfer_cube"] as const) {
    const { path, metadata } = await chooseCheckpoint({ ...shipped, task });
    assert.ok(path.endsWith(task), path);
    assert.equal(metadata.training.task, task);
  }
  const debug = { ...shipped, actionDim: 7 as const, maxTokenLen: 180 };
  const { path } = await chooseCheckpoint({ ...debug, task: "transfer_cube" });
  assert.ok(path.endsWith("reach_debug"), path);
});
