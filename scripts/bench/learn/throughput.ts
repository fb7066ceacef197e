/**
 * How fast experience is collected and used, and who waits for whom.
 * @module
 */

import { z } from "zod";
import type { Measurement } from "../measurement.ts";
import type { RunResults } from "./result_lines.ts";

/** Neither side of the pipeline should wait for longer, in percent of the time. */
const IDLE_GOAL_PERCENT = 10;

/** Updates that are left out: the first batches are collected before the pipeline is full. */
const WARM_UP_UPDATES = 2;

const ms = z.number().min(0);
const controllerSchema = z.object({
  chunks: z.int().min(1),
  times: z.object({
    inferMs: ms,
    executeMs: ms,
    observeMs: ms,
    waitMs: ms,
    weightsMs: ms,
    sendMs: ms,
    loopMs: ms,
  }),
});

/** Where the time of a run went. */
export interface Throughput {
  /** Chunks trained a second once the pipeline is full. */
  readonly chunksPerSecond: number;
  /** Control steps executed a second, over all environments. */
  readonly stepsPerSecond: number;
  /** Share of the learner's time in which no batch was there, 0–1. */
  readonly learnerIdle: number;
  /** Share of the learner's time in updates, 0–1. */
  readonly learnerUpdate: number;
  /** Share of the controller's time in which the learner wanted no chunks, 0–1. */
  readonly robotIdle: number;
  /** Shares of the controller's time, 0–1. */
  readonly controller: {
    readonly inference: number;
    readonly simulation: number;
    readonly rendering: number;
    readonly transfer: number;
    readonly other: number;
  };
}

/**
 * Work out where the time of a run went.
 *
 * The learner's shares are those of the updates after the first two, `collectSeconds` and
 * `updateSeconds` of its records; what it does between two updates besides waiting, such as writing a
 * checkpoint, counts as waiting. The controller's are those of its whole loop. Encoding and the socket
 * run between other work and count as that.
 *
 * @param run A trained run of at least three updates.
 * @throws {RangeError} If the run is too short or not over.
 */
export function measureThroughput(run: RunResults): Throughput {
  const settled = run.updates.slice(WARM_UP_UPDATES);
  if (run.trained === undefined || settled.length === 0) {
    throw new RangeError(
      `Cannot measure throughput: the run has ${run.updates.length} updates and is ` +
        `${run.trained ? "" : "not "}over, more than ${WARM_UP_UPDATES} are needed`,
    );
  }
  const sum = (name: string) =>
    settled.reduce((total, { metrics }) => total + (metrics[name] ?? 0), 0);
  const collect = sum("collectSeconds");
  const update = sum("updateSeconds");
  const chunks = sum("chunks");
  const { times } = controllerSchema.parse(run.trained.controller);
  const share = (value: number) => value / times.loopMs;
  const transfer = times.weightsMs + times.sendMs;
  const busy = times.inferMs + times.executeMs + times.observeMs + transfer + times.waitMs;
  const allChunks = run.updates.reduce((total, { metrics }) => total + (metrics.chunks ?? 0), 0);
  const stepsPerChunk = run.trained.controlSteps / allChunks;
  return {
    chunksPerSecond: chunks / (collect + update),
    stepsPerSecond: chunks * stepsPerChunk / (collect + update),
    learnerIdle: collect / (collect + update),
    learnerUpdate: update / (collect + update),
    robotIdle: share(times.waitMs),
    controller: {
      inference: share(times.inferMs),
      simulation: share(times.executeMs),
      rendering: share(times.observeMs),
      transfer: share(transfer),
      other: Math.max(0, share(times.loopMs - busy)),
    },
  };
}

/** The same for a table. */
export function throughputMeasurements(throughput: Throughput): Measurement[] {
  const percent = (name: string, share: number, goal?: Measurement["goal"]): Measurement => ({
    name,
    unit: "%",
    p50: 100 * share,
    goal,
  });
  const goal = { kind: "at most", value: IDLE_GOAL_PERCENT } as const;
  const { controller } = throughput;
  return [
    { name: "chunks trained", unit: "1/s", p50: throughput.chunksPerSecond },
    { name: "control steps", unit: "1/s", p50: throughput.stepsPerSecond },
    percent("learner: update", throughput.learnerUpdate),
    percent("learner: idle", throughput.learnerIdle, goal),
    percent("robots: idle", throughput.robotIdle, goal),
    percent("controller: simulation", controller.simulation),
    percent("controller: rendering", controller.rendering),
    percent("controller: inference", controller.inference),
    percent("controller: transfer", controller.transfer),
    percent("controller: other", controller.other),
  ];
}
