import assert from "node:assert/strict";
import fc from "fast-check";
import { SLEEP_POSE_RAD } from "../../common/robot/aloha.ts";
import { checkArm } from "./arm_check.ts";
import {
  type HomingProposal,
  homingTable,
  proposeHomingOffsets,
  writeHomingOffsets,
} from "./calibrate.ts";
import { armWith, EmulatedArm } from "./testing.ts";

const linux = { ignore: Deno.build.os !== "linux" };
const offsetsOf = (rows: readonly HomingProposal[]) =>
  rows.filter((row) => row.proposedOffset !== row.presentOffset)
    .map(({ layout, proposedOffset }) => [layout.id, proposedOffset]);

Deno.test(
  { ...linux, name: "proposeHomingOffsets() leaves a calibrated arm as it is" },
  async () => {
    await using arm = await EmulatedArm.start();
    const check = await checkArm(arm.servos, "left");
    const joints = proposeHomingOffsets(check, SLEEP_POSE_RAD);
    assert.deepEqual(joints.map(({ layout }) => layout.id), [1, 2, 3, 4, 5, 6, 7, 8]);
    const all = proposeHomingOffsets(check, [...SLEEP_POSE_RAD, 0]);
    assert.equal(all.length, 9);
    for (const row of [...joints, ...all]) {
      assert.equal(row.refusal, null);
      assert.equal(row.proposedOffset, row.presentOffset);
    }
    assert.deepEqual(await writeHomingOffsets(arm.servos, all), []);
    assert.deepEqual(arm.servos.writes, []);
  },
);

Deno.test(
  { ...linux, name: "calibration corrects a joint, its shadow too, and the check agrees" },
  async () => {
    await using arm = await EmulatedArm.start(armWith(5, { homingOffset: -60 }));
    await arm.set(7, "homingOffset", 100);
    await arm.servos.write(7, "torqueEnable", 0); // makes it measure anew
    await arm.command({ kind: "surround", id: 7, change: {} });
    const before = await checkArm(arm.servos, "left");
    assert.equal(before.isFit, false, "the shadow disagrees");
    const proposals = proposeHomingOffsets(before, SLEEP_POSE_RAD);
    assert.deepEqual(offsetsOf(proposals), [[5, 0], [7, 0]]);
    assert.match(homingTable(proposals), /\nelbow_shadow +5 +3058 +2998 +-60 +0 +correct\n/);
    assert.deepEqual(await writeHomingOffsets(arm.servos, proposals), [5, 7]);
    const after = await checkArm(arm.servos, "left");
    assert.deepEqual(after.problems, []);
    assert.deepEqual(offsetsOf(proposeHomingOffsets(after, SLEEP_POSE_RAD)), []);
  },
);

Deno.test({ ...linux, name: "calibration undoes any small offset of any joint" }, async () => {
  await using arm = await EmulatedArm.start();
  const id = fc.constantFrom(1, 2, 3, 4, 5, 6, 7, 8);
  await fc.assert(
    fc.asyncProperty(id, fc.integer({ min: -200, max: 200 }), async (id, offset) => {
      await arm.servos.write(id, "homingOffset", offset);
      const check = await checkArm(arm.servos, "right");
      await writeHomingOffsets(arm.servos, proposeHomingOffsets(check, SLEEP_POSE_RAD));
      assert.equal(await arm.get(id, "homingOffset"), 0);
    }),
    { numRuns: 5 },
  );
});

Deno.test(
  { ...linux, name: "proposeHomingOffsets() refuses what no small correction explains" },
  async () => {
    await using arm = await EmulatedArm.start();
    const check = await checkArm(arm.servos, "right");
    const pose = [0.4, ...SLEEP_POSE_RAD.slice(1)];
    const proposals = proposeHomingOffsets(check, pose);
    assert.match(
      proposals[0].refusal ?? "",
      /^right_waist \(servo 1\): it stands at 2048 ticks, the pose has 2309; at most 200 ticks/,
    );
    assert.match(homingTable(proposals), /REFUSED: right_waist/);
    await assert.rejects(writeHomingOffsets(arm.servos, proposals), /offsets: right_waist/);
    assert.deepEqual(arm.servos.writes, []);
    const turned = proposeHomingOffsets(check, [Math.PI, ...SLEEP_POSE_RAD.slice(1)]);
    assert.match(turned[0].refusal ?? "", /half a turn off/);
    assert.throws(() => proposeHomingOffsets(check, [0, 0]), /pose \[0, 0\]: expected six angles/);
    assert.throws(() => proposeHomingOffsets(check, new Array(6).fill(NaN)), RangeError);
  },
);

Deno.test({
  ...linux,
  name: "proposeHomingOffsets() refuses an offset beyond what the servo heeds",
}, async () => {
  await using arm = await EmulatedArm.start(
    armWith(6, { homingOffset: 1000 }, { shaftTicks: 998 }),
  );
  const check = await checkArm(arm.servos, "left");
  const row = proposeHomingOffsets(check, SLEEP_POSE_RAD)[5];
  assert.equal(row.proposedOffset, 1050);
  assert.match(row.refusal ?? "", /its offset would be 1050 ticks, the servo heeds ±1024/);
});

Deno.test({ ...linux, name: "calibration wants torque off, and every servo there" }, async () => {
  await using arm = await EmulatedArm.start();
  await arm.servos.write(8, "torqueEnable", 1);
  const withTorque = proposeHomingOffsets(await checkArm(arm.servos, "left"), SLEEP_POSE_RAD);
  assert.match(withTorque[7].refusal ?? "", /servo 8\): its torque is on; .* robot torque-off/);
  await arm.command({ kind: "vanish", id: 3 });
  const check = await checkArm(arm.servos, "left");
  assert.throws(
    () => proposeHomingOffsets(check, SLEEP_POSE_RAD),
    /Cannot calibrate left_shoulder_shadow \(servo 3\): it does not answer/,
  );
});

Deno.test(
  { ...linux, name: "writeHomingOffsets() puts everything back when the arm has moved" },
  async () => {
    await using arm = await EmulatedArm.start(armWith(1, { homingOffset: 30 }));
    const [waist, ...others] = proposeHomingOffsets(
      await checkArm(arm.servos, "left"),
      SLEEP_POSE_RAD,
    );
    const moved = others.map((row) =>
      row.layout.id === 6 ? { ...row, expectedTicks: 2148, proposedOffset: 50 } : row
    );
    await assert.rejects(
      writeHomingOffsets(arm.servos, [waist, ...moved]),
      /forearm_roll \(servo 6\).*with the offset 50 it reports 2098 ticks, expected 2148 ± 2; .*; the old/,
    );
    assert.equal(await arm.get(1, "homingOffset"), 30);
    assert.equal(await arm.get(6, "homingOffset"), 0);
  },
);

Deno.test(
  { ...linux, name: "writeHomingOffsets() says which old offset is lost with its servo" },
  async () => {
    await using arm = await EmulatedArm.start(armWith(1, { homingOffset: 30 }));
    const proposals = proposeHomingOffsets(await checkArm(arm.servos, "left"), SLEEP_POSE_RAD);
    await arm.command({ kind: "vanish", id: 1 });
    await assert.rejects(
      writeHomingOffsets(arm.servos, proposals),
      /could not be put back: waist \(servo 1\) had 30 \(/,
    );
  },
);
