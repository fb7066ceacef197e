import assert from "node:assert/strict";
import fc from "fast-check";
import { diffTensors } from "./diff_tensors.ts";

Deno.test("diffTensors() names every difference at once", () => {
  const expected = [
    { name: "same", shape: [2] },
    { name: "gone", shape: [3, 4] },
    { name: "turned", shape: [2, 3] },
  ];
  const found = [
    { name: "turned", shape: [3, 2] },
    { name: "new", shape: [] },
    { name: "same", shape: [2] },
  ];
  assert.deepEqual(diffTensors(expected, found), [
    "Tensor gone is missing, expected shape [3, 4].",
    "Tensor turned has shape [3, 2], expected [2, 3].",
    "Tensor new of shape [] is not expected.",
  ]);
});

Deno.test("diffTensors() finds no difference in another order", () => {
  const tensor = fc.record({ name: fc.string(), shape: fc.array(fc.nat(9), { maxLength: 4 }) });
  const tensors = fc.uniqueArray(tensor, { selector: ({ name }) => name });
  fc.assert(
    fc.property(tensors, (list) => {
      assert.deepEqual(diffTensors(list, list.toReversed()), []);
    }),
    { numRuns: 50, seed: 1 },
  );
});
