import assert from "node:assert/strict";
import fc from "fast-check";
import { GOAL_IDS, SETPOINT } from "./bus_memory.ts";
import { GoalKeeper } from "./goal_keeper.ts";

const OPEN = { isStopped: false, openedMs: -Infinity };
const STOPPED = { isStopped: true, openedMs: -Infinity };

function setpoint(timeMs: number, ticks: number): Float64Array {
  const values = new Float64Array(SETPOINT.length).fill(ticks);
  values[SETPOINT.timeMs] = timeMs;
  return values;
}

const ticksOf = (keeper: GoalKeeper) => keeper.ticks?.[0];

Deno.test("GoalKeeper takes the newest setpoint, once, in whole ticks", () => {
  const keeper = new GoalKeeper(60);
  assert.deepEqual(keeper.update(undefined, OPEN, 0), { isNew: false, hasMoved: false });
  assert.equal(keeper.ticks, undefined);
  assert.deepEqual(keeper.update(setpoint(10, 99.6), OPEN, 11), { isNew: true, hasMoved: true });
  assert.deepEqual([...keeper.ticks!], GOAL_IDS.map(() => 100));
  assert.deepEqual(keeper.update(setpoint(10, 200), OPEN, 12), { isNew: false, hasMoved: false });
  assert.deepEqual(keeper.update(setpoint(20, 100), OPEN, 21), { isNew: true, hasMoved: false });
  assert.deepEqual(keeper.update(setpoint(19, 300), OPEN, 22), { isNew: false, hasMoved: false });
  assert.equal(ticksOf(keeper), 100);
});

Deno.test("GoalKeeper leaves stale setpoints alone", () => {
  const keeper = new GoalKeeper(60);
  assert.equal(keeper.update(setpoint(10, 100), OPEN, 71).isNew, false);
  assert.equal(keeper.update(setpoint(132, 100), OPEN, 71).isNew, false, "from far ahead");
  assert.equal(keeper.update(setpoint(10, 100), OPEN, 70).isNew, true);
});

Deno.test("GoalKeeper keeps its goals through a stop and until a setpoint from after it", () => {
  const keeper = new GoalKeeper(60);
  keeper.update(setpoint(10, 100), OPEN, 10);
  assert.equal(keeper.update(setpoint(20, 200), STOPPED, 20).isNew, false);
  const opened = { isStopped: false, openedMs: 30 };
  assert.equal(keeper.update(setpoint(30, 200), opened, 31).isNew, false);
  assert.equal(ticksOf(keeper), 100);
  assert.equal(keeper.update(setpoint(31, 200), opened, 32).hasMoved, true);
});

Deno.test("GoalKeeper that has forgotten its goals moves with the next setpoint", () => {
  const keeper = new GoalKeeper(60);
  keeper.update(setpoint(10, 100), OPEN, 10);
  keeper.forget();
  assert.equal(keeper.ticks, undefined);
  assert.equal(keeper.update(setpoint(10, 100), OPEN, 11).isNew, false);
  assert.deepEqual(keeper.update(setpoint(20, 100), OPEN, 21), { isNew: true, hasMoved: true });
});

Deno.test("GoalKeeper never holds anything but whole ticks in Goal_Position's range", () => {
  const number = fc.oneof(
    fc.double(),
    fc.constantFrom(NaN, Infinity, -Infinity, 1_048_575, 1_048_575.6, -1_048_576),
    fc.double({ min: -2e6, max: 2e6 }),
  );
  const row = fc.array(number, { minLength: SETPOINT.length, maxLength: SETPOINT.length });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 20 }), (rows) => {
      const keeper = new GoalKeeper(60);
      rows.forEach((values, i) => {
        // Most times are good ones, so that the ticks decide.
        if (i % 4 !== 0) values[SETPOINT.timeMs] = i;
        const before = keeper.ticks === undefined ? undefined : [...keeper.ticks];
        const { isNew } = keeper.update(Float64Array.from(values), OPEN, i);
        if (!isNew) assert.deepEqual(keeper.ticks && [...keeper.ticks], before);
        for (const ticks of keeper.ticks ?? []) {
          assert.ok(Number.isInteger(ticks) && Math.abs(ticks) <= 1_048_575, `${ticks}`);
        }
      });
    }),
    { numRuns: 100 },
  );
});
