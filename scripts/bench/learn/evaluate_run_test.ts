import assert from "node:assert/strict";
import { PRESETS } from "../../../common/config/presets.ts";
import { chooseCheckpoint } from "../../../common/policy/choose_checkpoint.ts";
import { heldOutMeasure } from "./evaluate_run.ts";

Deno.test("heldOutMeasure() executes as much of a chunk as the run did at its end", async () => {
  const { path } = await chooseCheckpoint(PRESETS.demo);
  const { signal } = new AbortController();
  const measure = heldOutMeasure(4);
  const stepsOf = async (execution: { executeSteps: number; executeStepsFinal: number }) => {
    const config = { ...PRESETS.demo, numEnvs: 4, ...execution };
    const { meanChunkSteps, episodes } = await measure(path, config, signal);
    assert.equal(episodes, 4);
    return meanChunkSteps;
  };
  const whole = await stepsOf({ executeSteps: 0, executeStepsFinal: 0 });
  assert.ok(whole > 5 && whole <= 10, `${whole}`);
  const few = await stepsOf({ executeSteps: 10, executeStepsFinal: 4 });
  assert.ok(few > 2 && few <= 4, `${few}`);
  // Another seed of the same run begins with the same policy, which is not measured twice.
  const first = measure(path, PRESETS.demo, signal);
  assert.equal(measure(path, { ...PRESETS.demo, seed: 1 }, signal), first);
  await first;
});
