import assert from "node:assert/strict";
import { fitTokenizer, makeChunks } from "../../common/tokenizer/testing.ts";
import { missingPython, runFastReference } from "./fast_reference.ts";

const reason = await missingPython();

Deno.test({
  name: "Python's libraries load a tokenizer that save() wrote, and give the same ids and actions" +
    (reason ? ` (skipped: ${reason})` : ""),
  ignore: reason !== null,
  async fn() {
    for (const [horizon, actionDim, scale] of [[16, 14, 10], [10, 7, 40], [8, 6, 150]]) {
      const tokenizer = fitTokenizer(horizon, actionDim, scale, 2048);
      // Not those beyond what was fitted, which Python loses and we clip.
      const chunks = makeChunks(scale, 40, horizon, actionDim).filter((chunk) =>
        tokenizer.encode(chunk, horizon, actionDim).join() ===
          tokenizer.encode(chunk, horizon, actionDim, "reference").join()
      );
      assert.ok(chunks.length > 20);
      const { ids, actions } = await runFastReference(
        tokenizer,
        { horizon, actionDim, chunks },
        1,
      );
      chunks.forEach((chunk, i) => {
        const ours = tokenizer.encode(chunk, horizon, actionDim);
        assert.deepEqual([...ours], ids[i]);
        tokenizer.decode(ours, horizon, actionDim)
          .forEach((value, j) => assert.ok(Math.abs(value - actions[i][j]) < 1e-6));
      });
    }
  },
});
