import assert from "node:assert/strict";
import {
  CLAMP_BIT,
  CLAMP_COUNTS_LENGTH,
  CLAMP_KINDS,
  ClampCounts,
  clampSnapshot,
} from "./clamp_counts.ts";

Deno.test("ClampCounts counts by joint and by kind, and commands", () => {
  const counts = new ClampCounts();
  const masks = new Uint8Array(14);
  counts.add(masks, false);
  masks[2] = CLAMP_BIT.position | CLAMP_BIT.velocity;
  masks[13] = CLAMP_BIT.velocity;
  counts.add(masks, false);
  counts.add(masks.fill(0), true);
  assert.deepEqual(counts.snapshot(), {
    commands: 3,
    clampedCommands: 2,
    byKind: {
      not_finite: 0,
      position: 1,
      step: 0,
      velocity: 2,
      acceleration: 0,
      braking: 0,
      workspace: 1,
    },
    byJoint: {
      left_elbow: { position: 1, velocity: 1 },
      right_gripper: { velocity: 1 },
      robot: { workspace: 1 },
    },
  });
});

Deno.test("CLAMP_BIT has the bit of each kind's place in CLAMP_KINDS", () => {
  assert.deepEqual(CLAMP_KINDS.map((kind) => CLAMP_BIT[kind]), CLAMP_KINDS.map((_, k) => 1 << k));
});

Deno.test("ClampCounts.snapshot() is a copy", () => {
  const counts = new ClampCounts();
  const before = counts.snapshot();
  counts.add(new Uint8Array(14).fill(CLAMP_BIT.step), false);
  assert.equal(before.byKind.step, 0);
  assert.equal(counts.snapshot().byKind.step, 14);
});

Deno.test("clampSnapshot() reads what ClampCounts.values holds, and refuses other lengths", () => {
  const counts = new ClampCounts();
  counts.add(new Uint8Array(14).fill(CLAMP_BIT.braking), true);
  assert.equal(counts.values.length, CLAMP_COUNTS_LENGTH);
  const published = counts.values.slice();
  counts.add(new Uint8Array(14), false);
  assert.deepEqual(clampSnapshot(published), { ...counts.snapshot(), commands: 1 });
  assert.throws(() => clampSnapshot(new Float64Array(3)), {
    name: "RangeError",
    message: /from 3 numbers, expected 107/,
  });
});
