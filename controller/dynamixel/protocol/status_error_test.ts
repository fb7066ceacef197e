import assert from "node:assert/strict";
import { describeHardwareError, describeStatusError, STATUS_ERROR } from "./status_error.ts";

Deno.test("describeStatusError() names every number and the alert", () => {
  assert.equal(describeStatusError(0), "no error");
  assert.equal(describeStatusError(0x80), "hardware alert");
  assert.match(describeStatusError(0x87), /^access error: .*; hardware alert$/);
  for (const number of Object.values(STATUS_ERROR)) {
    assert.doesNotMatch(describeStatusError(number), /unknown error/);
  }
  assert.equal(describeStatusError(9), "unknown error 9");
});

Deno.test("describeHardwareError() names every bit", () => {
  assert.equal(describeHardwareError(0), "no hardware error");
  assert.equal(describeHardwareError(0x24), "overheating, overload");
  assert.equal(describeHardwareError(0x42), "unknown bits 0x42");
  assert.equal(describeHardwareError(0x11).split(", ").length, 2);
});
