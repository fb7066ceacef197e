import assert from "node:assert/strict";
import { resetState } from "../common/robot/aloha.ts";
import { MAX_QUEUED_STEPS, Takeover } from "./takeover.ts";

const POSE = [...resetState(1)];
const rows = (count: number) =>
  Array.from({ length: count }, (_, i) => [0.01 * i, ...POSE.slice(1)]);

/** How many steps a chunk has, and where its first number goes. */
function steps(next: ((step: number) => Float32Array | null) | null): number[] {
  const waists: number[] = [];
  for (let step = 0, row = next?.(0); row; row = next!(++step)) waists.push(row[0]);
  return waists.map((waist) => Math.round(100 * waist));
}

Deno.test("Takeover cuts each request's targets into chunks of at most H steps", () => {
  const takeover = new Takeover({ robots: 1, horizon: 4 });
  assert.equal(takeover.begin(), null);
  assert.equal(takeover.hasTargets, false);
  assert.equal(takeover.push(rows(6)), null);
  assert.equal(takeover.push(rows(1)), null);
  assert.equal(takeover.queuedSteps, 7);
  const chunks = [1, 2, 3].map(() => steps(takeover.takeChunk()));
  assert.deepEqual(chunks, [[0, 1, 2, 3], [4, 5], [0]]);
  assert.equal(takeover.takeChunk(), null);
});

Deno.test("Takeover gives no target after the release, nor in the next takeover", () => {
  const takeover = new Takeover({ robots: 2, horizon: 4 });
  takeover.begin(1);
  takeover.push(rows(8));
  const chunk = takeover.takeChunk()!;
  assert.notEqual(chunk(0), null);
  assert.equal(takeover.release(), null);
  assert.equal(chunk(1), null);
  assert.deepEqual([takeover.robot, takeover.queuedSteps], [null, 0]);
  takeover.begin(1);
  assert.equal(chunk(1), null);
  assert.equal(takeover.takeChunk(), null);
});

Deno.test("Takeover asks a source for each step of a chunk", () => {
  const takeover = new Takeover({ robots: 1, horizon: 3 });
  let asked = 0;
  takeover.begin(0, () => Float32Array.from(rows(10)[asked++]));
  assert.ok(takeover.hasTargets);
  assert.deepEqual(steps(takeover.takeChunk()), [0, 1, 2]);
  assert.match(takeover.push(rows(1))!, /come from elsewhere/);
});

Deno.test("Takeover says in one sentence what it cannot do, and changes nothing", () => {
  const takeover = new Takeover({ robots: 2, horizon: 4 });
  assert.match(takeover.release()!, /nobody has taken over/);
  assert.match(takeover.push(rows(1))!, /nobody has taken over/);
  for (const robot of [2, -1, 0.5, NaN]) assert.match(takeover.begin(robot)!, /there are 2/);
  takeover.begin(1);
  assert.match(takeover.begin(0)!, /a person drives robot 1 already/);
  const wrong = (change: (row: number[]) => void) => {
    const targets = rows(2);
    change(targets[1]);
    return takeover.push(targets)!;
  };
  assert.match(wrong((row) => row.pop()), /row 1 has 13 numbers, expected 14/);
  assert.match(wrong((row) => row[1] = 1.3), /left_shoulder of row 1 is 1.3, expected -1.85005 to/);
  assert.match(wrong((row) => row[13] = NaN), /right_gripper of row 1 is NaN, expected 0 to 1/);
  assert.equal(takeover.push(Array(MAX_QUEUED_STEPS).fill(POSE)), null);
  assert.match(takeover.push(rows(1))!, /501 would wait, the limit is 500/);
  takeover.clear();
  assert.equal(takeover.queuedSteps, 0);
});

Deno.test("Takeover.waitForChange() ends with a change, or with its time", async () => {
  const takeover = new Takeover({ robots: 1, horizon: 4 });
  for (
    const act of [() => takeover.begin(), () => takeover.push(rows(1)), () => takeover.release()]
  ) {
    const waits = [1, 2].map(() => takeover.waitForChange(60_000));
    act();
    await Promise.all(waits);
  }
  await takeover.waitForChange(1);
});
