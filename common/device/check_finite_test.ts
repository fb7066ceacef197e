import assert from "node:assert/strict";
import fc from "fast-check";
import { checkFinite, NonFiniteError } from "./check_finite.ts";

Deno.test("checkFinite() lets every finite number pass, of a list and alone", () => {
  const finite = fc.float({ noNaN: true, noDefaultInfinity: true });
  fc.assert(fc.property(fc.float32Array({ noNaN: true, noDefaultInfinity: true }), (values) => {
    checkFinite(values, "an action");
  }));
  fc.assert(fc.property(finite, (value) => checkFinite(value, "a value")));
  checkFinite([], "nothing");
});

Deno.test("checkFinite() names the first number that is not finite, wherever it is", () => {
  const broken = fc.constantFrom(NaN, Infinity, -Infinity);
  fc.assert(
    fc.property(
      fc.array(fc.float({ noNaN: true, noDefaultInfinity: true })),
      broken,
      (head, bad) => {
        const values = Float32Array.of(...head, bad, NaN, 1);
        assert.throws(() => checkFinite(values, "an action"), {
          name: "NonFiniteError",
          message: `The policy computed ${bad} for an action (number ${head.length} of ` +
            `${values.length}), which nothing may act on: its weights are broken, or the device ` +
            "that computes it is",
        });
        assert.throws(() => checkFinite(bad, "a value"), NonFiniteError);
      },
    ),
  );
});
