import assert from "node:assert/strict";
import { checkTensors, compareTensors, describeDifferences } from "./check_tensors.ts";

const tensor = (name: string, shape: number[], dtype = "F32") => ({ name, shape, dtype });

Deno.test("compareTensors() finds nothing between equal sets in any order", () => {
  const found = [tensor("b", []), tensor("a", [2, 3], "BF16")];
  const { missing, unexpected, wrongShape, wrongDtype } = compareTensors(
    [{ name: "a", shape: [2, 3] }, { name: "b", shape: [] }],
    found,
  );
  assert.deepEqual([missing, unexpected, wrongShape, wrongDtype], [[], [], [], []]);
  checkTensors([{ name: "a", shape: [2, 3] }, { name: "b", shape: [] }], found, "x");
});

Deno.test("checkTensors() reports all differences of all kinds in one error", () => {
  const wanted = [
    { name: "gone", shape: [4] },
    { name: "turned", shape: [2, 3] },
    { name: "whole", shape: [2], dtypes: ["F32"] },
    { name: "both", shape: [1], dtypes: ["F32"] },
    { name: "fine", shape: [7] },
  ];
  const found = [
    tensor("turned", [3, 2]),
    tensor("whole", [2], "I64"),
    tensor("both", [1, 1], "F16"),
    tensor("stray", [9]),
    tensor("fine", [7]),
  ];
  assert.throws(() => checkTensors(wanted, found, "ckpt as tiny"), {
    name: "CheckpointError",
    message: [
      "Cannot use ckpt as tiny: 5 tensors do not fit the 5 that it has.",
      "missing (1):",
      "  gone: expected [4];",
      "unexpected (1):",
      "  stray: found [9];",
      "wrong shape (2):",
      "  turned: expected [2, 3], found [3, 2];",
      "  both: expected [1], found [1, 1];",
      "wrong dtype (2):",
      "  whole: expected F32, found I64;",
      "  both: expected F32, found F16;",
    ].join("\n"),
  });
});

Deno.test("describeDifferences() gives layers that differ alike one line", () => {
  const layer = (i: number, shape: number[]) => ({ name: `m.layers.${i}.mlp.2.w`, shape });
  const wanted = [0, 1, 2, 3, 5, 7].map((i) => layer(i, [4, 2]));
  const found = [0, 1, 2, 5, 7].map((i) => ({ ...layer(i, [i === 7 ? 9 : 2, 4]), dtype: "F32" }));
  assert.deepEqual(describeDifferences(compareTensors(wanted, found)), [
    "missing (1):",
    "  m.layers.3.mlp.2.w: expected [4, 2];",
    "wrong shape (5):",
    "  m.layers.{0-2,5}.mlp.2.w: expected [4, 2], found [2, 4];",
    "  m.layers.7.mlp.2.w: expected [4, 2], found [9, 4];",
  ]);
});

Deno.test("describeDifferences() counts what it does not show", () => {
  const wanted = Array.from({ length: 300 }, (_, i) => ({ name: `t${i}`, shape: [i] }));
  const lines = describeDifferences(compareTensors(wanted, []));
  assert.equal(lines.length, 14);
  assert.equal(lines[0], "missing (300):");
  assert.equal(lines.at(-1), "  and 288 more;");
});

Deno.test("checkTensors() counts a wanted tensor in a form that is not read as a wrong dtype", () => {
  const unread = [{ name: "w", reason: "its dtype is I64" }, { name: "step", reason: "a counter" }];
  assert.throws(
    () => checkTensors([{ name: "w", shape: [2] }], [], "x", unread),
    /\nwrong dtype \(1\):\n {2}w: expected F32\/F16\/BF16, found something else \(its dtype is I64\);$/,
  );
});
