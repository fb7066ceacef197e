/**
 * How fast physics and cameras are.
 * @module
 */

import { benchSimulation as timeSimulation } from "../../controller/sim/bench.ts";
import { TASK_NAMES } from "../../controller/sim/task_names.ts";
import type { BenchContext } from "./context.ts";
import type { Measurement } from "./measurement.ts";

/** Physics steps of 2 ms a second on one core. */
const GOAL_STEPS_PER_SECOND = 20_000;
/** Three pictures of 224×224. */
const GOAL_RENDER_MS = 30;

/** Time every task's physics and pictures. */
export async function benchSimulation({ repeats }: BenchContext): Promise<Measurement[]> {
  const bench = await timeSimulation({ repeats });
  return TASK_NAMES.flatMap((task): Measurement[] => [
    {
      name: `physics, ${task}`,
      unit: "steps/s",
      p50: bench[task].physicsStepsPerSecond,
      goal: { kind: "at least", value: GOAL_STEPS_PER_SECOND },
    },
    {
      name: `three 224×224 pictures, ${task}`,
      unit: "ms",
      p50: bench[task].render224Ms,
      goal: { kind: "at most", value: GOAL_RENDER_MS },
    },
    { name: `three 56×56 pictures, ${task}`, unit: "ms", p50: bench[task].render56Ms },
  ]);
}
