import assert from "node:assert/strict";
import fc from "fast-check";
import { editDistance, nearest } from "./nearest.ts";

Deno.test("editDistance() counts insertions, deletions and replacements", () => {
  assert.equal(editDistance("kitten", "sitting"), 3);
  assert.equal(editDistance("", "abc"), 3);
});

Deno.test("editDistance() is a metric", () => {
  const text = fc.string({ maxLength: 8 });
  fc.assert(
    fc.property(text, text, text, (a, b, c) => {
      assert.equal(editDistance(a, a), 0);
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.ok(editDistance(a, c) <= editDistance(a, b) + editDistance(b, c));
    }),
    { numRuns: 100, seed: 1 },
  );
});

Deno.test("nearest() suggests what is close and nothing that is not", () => {
  const names = ["seed", "exp-name", "gamma", "gae-lambda", "max-episode-steps"];
  assert.equal(nearest("sede", names), "seed");
  assert.equal(nearest("Gama", names), "gamma");
  assert.equal(nearest("max-episode", names), "max-episode-steps");
  assert.equal(nearest("colour", names), undefined);
  assert.equal(nearest("x", []), undefined);
});
