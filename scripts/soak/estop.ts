/**
 * `deno task soak estop`: how long an emergency stop takes from the request to the last motion command.
 *
 * @module
 */

import { ARM_NAMES } from "../../common/robot/aloha.ts";
import type { OwnFlags } from "../../common/cli/command.ts";
import { seededRandom, uniform } from "../../common/random.ts";
import { sharedNowMs } from "../../controller/threads/clock.ts";
import { percentile } from "../statistics.ts";
import { ARM_FLAGS, SILENT, type SoakPart, soakPart } from "./command.ts";
import { PolicyRun, policyRunOptions } from "./policy_run.ts";
import { type Finding, loadNote } from "./report.ts";
import { hasMoved, stillFromMs } from "./servo_stop.ts";
import { StopProbe } from "./stop_probe.ts";

/** Longest wait for an episode, in ms. */
const EPISODE_MS = 120_000;
/** The request goes out at a random moment of so many ms after the arms are seen to move. */
const SPREAD_MS = 1_000;
/** Servos that moved so shortly before the request were being moved, in ms. */
const MOVING_MS = 60;
/** Time after the request in which servos are watched, in ms: ten times the goal. */
const WATCH_MS = 400;
/** Two bus cycles at 50 Hz. */
const GOAL_MS = 40;
/** Less than that within a bus cycle at 50 Hz is no motion. */
const STILL = { lengthMs: 20, ticks: 2 } as const;

const ESTOP_FLAGS = {
  ...ARM_FLAGS,
  count: {
    kind: "integer",
    default: 100,
    minimum: 1,
    maximum: 100_000,
    unit: "stops",
    description: "Emergency stops; after each the robot is released, started and homes.",
  },
} as const satisfies OwnFlags;

/** One stop; times in ms since the request was sent. */
interface Stop {
  readonly lastMovedMs: number;
  readonly seenMs: number;
  readonly stillMs: number;
  readonly wasMoving: boolean;
}

/** The part. */
export const estop: SoakPart = soakPart(
  "estop",
  "Stop two emulated arms by POST /estop while the policy moves them, and time it.",
  ESTOP_FLAGS,
  async (context) => {
    const { flags, progress, config } = context;
    const random = seededRandom(config.seed);
    // A hundred stops are no news.
    const logger = flags.verbose ? context.logger : SILENT;
    await using run = await PolicyRun.start(policyRunOptions({ ...context, logger }));
    using probe = new StopProbe();
    const stops: Stop[] = [];
    await run.until("first episode", () => run.isRunning, EPISODE_MS);
    while (stops.length < flags.count) {
      stops.push(await stopOnce(run, probe, uniform(random, 0, SPREAD_MS)));
      const { isDone, sentence } = await run.post("/release");
      if (!isDone) throw new Error(`The release was refused: ${sentence}`);
      await run.startAgain(EPISODE_MS);
      if (stops.length % 10 === 0) {
        const worstMs = Math.max(...stops.map((stop) => stop.lastMovedMs));
        progress.info(`${stops.length} stops, the slowest took ${worstMs.toFixed(1)} ms`);
      }
    }
    return [{
      title: `estop at ${flags.rate} Hz, ${flags.execution}`,
      findings: findingsOf(stops),
      notes: [
        "times since the request was sent; the last motion command is 0 where none followed it",
        loadNote(),
      ],
    }];
  },
);

/** Stop arms that move. */
async function stopOnce(run: PolicyRun, probe: StopProbe, delayMs: number): Promise<Stop> {
  const { robot } = run;
  const emulator = robot.arms.emulator!;
  const stop = { kind: "post", url: `${run.url}/estop` } as const;
  // An episode may end within the random pause: then the next one is waited for.
  for (let atMs = Infinity; sharedNowMs() < atMs;) {
    const isMoving = () => run.isRunning && robot.arms.motion.status().hold === "none";
    await run.until("motion", isMoving, EPISODE_MS);
    if (atMs === Infinity) atMs = sharedNowMs() + delayMs;
  }
  const { actedMs, samples } = await probe.probe({
    action: stop,
    beforeMs: MOVING_MS,
    afterMs: WATCH_MS,
    positions: emulator.positions,
  });
  const counters = ARM_NAMES.map((arm) => robot.arms.buses[arm].counters());
  return {
    lastMovedMs: Math.max(0, ...counters.map((bus) => bus.lastMovedMs - actedMs)),
    seenMs: Math.max(...counters.map((bus) => bus.stopSeenMs - actedMs)),
    stillMs: stillFromMs(samples, actedMs, STILL) - actedMs,
    wasMoving: hasMoved(samples, actedMs - MOVING_MS, actedMs),
  };
}

function findingsOf(stops: readonly Stop[]): Finding[] {
  const times = (name: string, values: readonly number[], goalMs?: number): Finding[] => [
    { name: `${name} p50`, unit: "ms", value: percentile(values, 0.5) },
    {
      name: `${name} p99`,
      unit: "ms",
      value: percentile(values, 0.99),
      ...goalMs === undefined ? {} : { goal: { kind: "at most", value: goalMs } },
    },
    { name: `${name} max`, unit: "ms", value: Math.max(...values) },
  ];
  return [
    { name: "stops", unit: "", value: stops.length },
    {
      name: "of them with servos in motion",
      unit: "",
      value: stops.filter(({ wasMoving }) => wasMoving).length,
    },
    ...times("request to last motion command", stops.map((stop) => stop.lastMovedMs), GOAL_MS),
    ...times("request to stop seen by both buses", stops.map((stop) => stop.seenMs)),
    ...times("request to no servo moving", stops.map((stop) => stop.stillMs)),
  ];
}
