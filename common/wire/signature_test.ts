import assert from "node:assert/strict";
import type { HelloMessage } from "./messages.ts";
import { PROTOCOL_VERSION } from "./protocol.ts";
import { describeDifference, refusalOf } from "./signature.ts";

const LEARNER = { model: "tiny", tokenizer: "fast-a1", normalization: "q-77" };

Deno.test("describeDifference() is null for equal signatures in any order", () => {
  const same = { normalization: "q-77", tokenizer: "fast-a1", model: "tiny" };
  assert.equal(describeDifference(LEARNER, same), null);
});

Deno.test("describeDifference() names every difference with both values", () => {
  const { normalization: _, ...rest } = LEARNER;
  assert.equal(
    describeDifference(LEARNER, { ...rest, model: "gemma_2b" }),
    'Learner and controller do not match: model is "tiny" on the learner and "gemma_2b" on the ' +
      'controller; normalization is "q-77" on the learner and missing on the controller; start ' +
      "both from the same checkpoint and configuration",
  );
});

Deno.test("describeDifference() is not fooled by names that objects inherit", () => {
  assert.match(describeDifference({ toString: "x" }, {}) ?? "", /toString is "x" on the learner/);
});

Deno.test("refusalOf() names both protocol versions", () => {
  const hello: HelloMessage = {
    type: "hello",
    protocolVersion: 2,
    role: "controller",
    controllerId: "c",
    signature: LEARNER,
  };
  assert.match(refusalOf(hello, LEARNER) ?? "", /protocol version is 6 on the learner and 2 on/);
  assert.equal(refusalOf({ ...hello, protocolVersion: PROTOCOL_VERSION }, LEARNER), null);
});
