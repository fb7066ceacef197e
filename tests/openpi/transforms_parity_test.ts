import assert from "node:assert/strict";
import { buildPrefix } from "../../common/tokenizer/prompt.ts";
import { testItems } from "./fidelity_item.ts";
import { goldenLanguage, TOKEN_CASES, tokenize, TRANSFORM_ITEMS } from "./transform_items.ts";

await testItems(TRANSFORM_ITEMS);

Deno.test("buildPrefix() refuses exactly the sequences that openpi would cut off", () => {
  let refused = 0;
  for (const given of TOKEN_CASES) {
    const { prefix, postfix } = tokenize(given);
    const build = () =>
      buildPrefix({
        language: goldenLanguage(),
        prompt: given.prompt,
        state: Float32Array.from(given.state),
        maxTokenLen: given.maxLen,
        reservedTokens: postfix.length,
      });
    if (prefix.length + postfix.length > given.maxLen) {
      refused++;
      assert.equal(given.mask, "1".repeat(given.maxLen));
      assert.throws(build, /Cannot build the prompt/);
    } else {
      assert.deepEqual(build(), prefix);
    }
  }
  assert.ok(refused > 0 && refused < TOKEN_CASES.length);
});
