/**
 * Lets the engine compile the motion thread's cycle before anything depends on its time: the first
 * cycles that follow a plan take up to 3 ms otherwise, longer than they are ahead of the buses.
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM, ARM_NAMES, resetState } from "../../common/robot/aloha.ts";
import { commandToTicks } from "../arms/units.ts";
import { createBusMemory, GOAL_IDS, STATE } from "../dynamixel/thread/bus_memory.ts";
import { StopLatch } from "../safety/stop_latch.ts";
import { SharedRecord } from "../threads/shared_record.ts";
import { MotionCycle, type MotionSetup } from "./motion_cycle.ts";
import { createMotionMemory, MAX_PLAN_STEPS, ORDER, ORDER_MODES, PLAN } from "./motion_memory.ts";

/** Enough for the engine to optimise what is called in every cycle. */
const CYCLES = 600;

/**
 * Run cycles on memory that nobody else sees, as fast as they go: a plan, a hold and a plan again.
 *
 * @param setup Limits and rate; its memory is left alone.
 */
export function warmUp(setup: Pick<MotionSetup, "limits" | "rateHz">): void {
  const memory = createMotionMemory();
  const buses = { left: createBusMemory(), right: createBusMemory() };
  const latch = new StopLatch().memory;
  const cycle = new MotionCycle(
    { ...setup, epochMs: 0, isDryRun: true, latch, buses, memory },
    0,
  );
  const plan = new SharedRecord(memory.plan), order = new SharedRecord(memory.order);
  const planValues = new Float64Array(PLAN.length),
    orderValues = new Float64Array(ORDER.length).fill(NaN, ORDER.goals);
  const pose = resetState();
  const states = ARM_NAMES.map((arm) => new SharedRecord(buses[arm].state));
  const stateValues = ARM_NAMES.map((arm) => {
    const values = new Float64Array(STATE.length);
    values[STATE.answered] = (1 << GOAL_IDS.length) - 1;
    const ticks = values.subarray(STATE.positionTicks, STATE.positionTicks + ARM_DIM);
    commandToTicks(pose, arm, ticks);
    return values;
  });
  for (let n = 0; n < CYCLES; n++) {
    const nowMs = cycle.nextMs;
    stateValues.forEach((values, arm) => {
      values[STATE.timeMs] = nowMs;
      states[arm].write(values);
    });
    orderValues[ORDER.mode] = n % 200 < 150 ? ORDER_MODES.follow : ORDER_MODES.hold;
    orderValues[ORDER.restarts] = 1;
    orderValues[ORDER.aliveMs] = nowMs;
    order.write(orderValues);
    if (n % 50 === 1) {
      planValues.set([n, -1, MAX_PLAN_STEPS]);
      for (let i = 0; i < MAX_PLAN_STEPS * ALOHA_DIM; i++) {
        planValues[PLAN.targets + i] = pose[i % ALOHA_DIM] + 0.1 * Math.sin(i / 500);
      }
      plan.write(planValues);
    }
    cycle.run(nowMs);
  }
}
