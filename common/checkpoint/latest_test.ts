import assert from "node:assert/strict";
import { join } from "node:path";
import { checkpointPath, writeCheckpoint } from "./checkpoint.ts";
import { latestCheckpoint } from "./latest.ts";
import { sampleContent, sampleInfo, TempDir } from "./testing.ts";

Deno.test("latestCheckpoint() finds the highest step by number, not by text", async () => {
  using dir = new TempDir();
  for (const step of [9, 10, 2]) {
    const path = checkpointPath(dir.path, "run", step);
    await writeCheckpoint(path, sampleContent({ info: sampleInfo({ step }) }));
  }
  await Deno.mkdir(join(dir.path, "run", "step_x"));
  assert.deepEqual(await latestCheckpoint(dir.path, "run"), {
    path: checkpointPath(dir.path, "run", 10),
    step: 10,
    passedOver: [],
  });
});

Deno.test("latestCheckpoint() passes over an incomplete step and says why", async () => {
  using dir = new TempDir();
  await writeCheckpoint(checkpointPath(dir.path, "run", 1), sampleContent());
  const broken = checkpointPath(dir.path, "run", 2);
  await writeCheckpoint(broken, sampleContent());
  await Deno.truncate(join(broken, "params/model.safetensors"), 10);
  const latest = await latestCheckpoint(dir.path, "run");
  assert.equal(latest.step, 1);
  assert.equal(latest.passedOver.length, 1);
  assert.match(latest.passedOver[0], /is truncated/);
});

Deno.test("latestCheckpoint() finds nothing in a new experiment", async () => {
  using dir = new TempDir();
  assert.deepEqual(await latestCheckpoint(dir.path, "new"), {
    path: undefined,
    step: -1,
    passedOver: [],
  });
});
