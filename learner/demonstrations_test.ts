import assert from "node:assert/strict";
import { useDevice } from "../common/policy/backend.ts";
import { makePolicy, MICRO } from "../common/policy/testing.ts";
import { encodeDemonstrations, readDemonstrations } from "./demonstrations.ts";
import { sampleEstimates } from "./testing.ts";

await useDevice("wasm");

Deno.test("readDemonstrations() gives what was encoded, and refuses what a policy cannot imitate", async () => {
  using policy = makePolicy();
  const examples = (await sampleEstimates(policy, 1, [0, 0, 0])).map(({ transition }) => ({
    observation: transition.observation,
    tokens: transition.tokens,
  }));
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, encodeDemonstrations(examples));
    assert.deepEqual(await readDemonstrations(path, policy), examples);

    const siglip = { ...MICRO.siglip, imageSize: 42 };
    using larger = makePolicy({ variant: { ...MICRO, siglip } });
    await assert.rejects(readDemonstrations(path, larger), {
      name: "RangeError",
      message:
        /^Cannot imitate .*: cam_high is 28×28, the policy sees 42×42; record demonstrations/,
    });
    await Deno.writeFile(path, encodeDemonstrations([]));
    await assert.rejects(readDemonstrations(path, policy), /Cannot imitate .*: it has no chunk/);
    await Deno.writeTextFile(path, "no demonstrations");
    await assert.rejects(
      readDemonstrations(path, policy),
      /Cannot read chunks: the frame at byte 0/,
    );
  } finally {
    await Deno.remove(path);
  }
});
