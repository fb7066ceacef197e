/**
 * How fast the simulation is on this machine.
 *
 * @module
 */

import { SimulatedAloha } from "./aloha_sim.ts";
import { createDemonstrator } from "./demonstrator.ts";
import { SUBSTEPS } from "./scene.ts";
import { TASK_NAMES, type TaskName } from "./task_names.ts";

/** Medians of one task's repeated timings. */
export interface TaskTiming {
  /** Physics steps of 2 ms a second, through `stepSync` under a demonstrator's actions. */
  readonly physicsStepsPerSecond: number;
  /** Three pictures of 224×224, in ms. */
  readonly render224Ms: number;
  /** Three pictures of 56×56, in ms. */
  readonly render56Ms: number;
}

/** What {@link benchSimulation} measured on one core. */
export type SimulationBench = Readonly<Record<TaskName, TaskTiming>>;

/** How much to measure. */
export interface SimulationBenchOptions {
  /** Timings of which the median is taken. Default 15. */
  readonly repeats?: number;
  /** Tells the time, in ms. Default `performance.now`. */
  readonly now?: () => number;
}

/** Control steps of one physics timing. */
const STEPS_PER_TIMING = 100;

/**
 * Time physics and rendering of every task. Takes about a second.
 *
 * @param options How much to measure.
 * @returns Medians a task.
 * @throws {RangeError} `repeats` is not an integer of 1 or more.
 */
export async function benchSimulation(
  options: SimulationBenchOptions = {},
): Promise<SimulationBench> {
  const { repeats = 15, now = () => performance.now() } = options;
  if (!Number.isInteger(repeats) || repeats < 1) {
    throw new RangeError(`Cannot bench: repeats is ${repeats}, expected an integer of 1 or more`);
  }
  const timings: [TaskName, TaskTiming][] = [];
  for (const task of TASK_NAMES) timings.push([task, await benchTask(task, repeats, now)]);
  return Object.fromEntries(timings) as Record<TaskName, TaskTiming>;
}

async function benchTask(task: TaskName, repeats: number, now: () => number): Promise<TaskTiming> {
  using large = await SimulatedAloha.create({ task, imageSize: 224 });
  using small = await SimulatedAloha.create({ task, imageSize: 56 });
  const stepMs = medianMs(repeats, now, timeSteps(small, now));
  return {
    physicsStepsPerSecond: STEPS_PER_TIMING * SUBSTEPS / (stepMs / 1000),
    render224Ms: medianMs(repeats, now, () => large.observeSync()),
    render56Ms: medianMs(repeats, now, () => small.observeSync()),
  };
}

/** Steps through demonstrated episodes, one after the other. Only `stepSync` is timed. */
function timeSteps(robot: SimulatedAloha, now: () => number): () => number {
  const demonstrator = createDemonstrator(robot);
  let seed = 0;
  const restart = () => {
    robot.resetSync(seed++);
    demonstrator.reset();
  };
  restart();
  return () => {
    let spentMs = 0;
    for (let i = 0; i < STEPS_PER_TIMING; i++) {
      if (robot.hasEnded) restart();
      const action = demonstrator.act();
      const start = now();
      robot.stepSync(action);
      spentMs += now() - start;
    }
    return spentMs;
  };
}

/** Median over repeats, after one round to warm up. `work` may return its own time. */
function medianMs(repeats: number, now: () => number, work: () => unknown): number {
  work();
  const times: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const start = now();
    const own = work();
    times.push(typeof own === "number" ? own : now() - start);
  }
  times.sort((a, b) => a - b);
  return times[times.length >> 1];
}
