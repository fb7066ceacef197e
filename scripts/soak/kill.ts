/**
 * `deno task soak kill`: how soon servos stop whose controller was killed, by their own watchdogs.
 *
 * @module
 */

import { join } from "node:path";
import type { OwnFlags } from "../../common/cli/command.ts";
import { type RandomSource, seededRandom, uniform } from "../../common/random.ts";
import { SERVO_LAYOUT } from "../../controller/arms/servo_layout.ts";
import { EXECUTION_MODES } from "../../controller/aloha/arm_rollout.ts";
import { EmulatorHost } from "../../controller/dynamixel/emulator/emulator_host.ts";
import { viperXServos } from "../../controller/dynamixel/emulator/viperx_arm.ts";
import { sharedNowMs } from "../../controller/threads/clock.ts";
import { percentile } from "../statistics.ts";
import { COMMON_FLAGS, type SoakContext, type SoakPart, soakPart } from "./command.ts";
import { ControllerChild } from "./controller_child.ts";
import { loadNote, type SoakReport } from "./report.ts";
import { hasMoved, lastChangeMs } from "./servo_stop.ts";
import { StopProbe } from "./stop_probe.ts";
import { writeTestCameras } from "./test_cameras.ts";

/** Longest wait for a controller to move the arms by its policy, in ms. */
const START_MS = 120_000;
/** The kill comes at a random moment of so many ms after the arms are seen to move. */
const SPREAD_MS = 2_000;
/** Servos that moved so shortly before the kill were being moved, in ms. */
const MOVING_MS = 60;
/** Time after the kill in which servos are watched, in ms: ten times the goal. */
const WATCH_MS = 1_000;
const GOAL_MS = 100;
/** Time between two looks at the controller, in ms. */
const POLL_MS = 2;

const KILL_FLAGS = {
  ...COMMON_FLAGS,
  count: {
    kind: "integer",
    default: 20,
    minimum: 1,
    maximum: 10_000,
    unit: "kills",
    description: "Kills; after each a new controller clears the watchdogs and homes.",
  },
  rate: {
    kind: "choice",
    choices: ["50", "100", "200"],
    default: "50",
    description: "Cycles of each bus a second, Hz.",
  },
  execution: {
    kind: "choice",
    choices: EXECUTION_MODES,
    default: "overlap",
    description: "How chunks are executed; with overlap the arms do not rest between them.",
  },
} as const satisfies OwnFlags;

type KillContext = SoakContext<typeof KILL_FLAGS>;

/** One kill. */
interface Kill {
  /** From the kill to the last change of any servo's position, in ms. */
  readonly stopMs: number;
  /** Servos moved right before it. */
  readonly wasMoving: boolean;
  /** From the kill until every watchdog was seen to have expired, in ms; NaN if one has not. */
  readonly expiredMs: number;
}

/** The part. */
export const kill: SoakPart = soakPart(
  "kill",
  "Kill a controller that moves emulated arms, and time how soon their servos stop by themselves.",
  KILL_FLAGS,
  async (context) => {
    const { flags, progress, config, signal } = context;
    const folder = await Deno.makeTempDir({ prefix: "tendon-soak-" });
    try {
      const cameras = await writeTestCameras(folder);
      const random = seededRandom(config.seed);
      const links = ["left", "right"].map((arm) => join(folder, arm));
      await using emulator = await EmulatorHost.start(
        links.map((linkPath, seed) => ({ servos: viperXServos(), linkPath, seed })),
      );
      using probe = new StopProbe();
      const kills: Kill[] = [];
      while (kills.length < flags.count) {
        signal.throwIfAborted();
        const args = controllerArguments(context, links, cameras);
        const one = await killOnce({ context, emulator, probe, random, args });
        kills.push(one);
        progress.info(
          `${kills.length} of ${flags.count}: servos stood ${one.stopMs.toFixed(1)} ms after the ` +
            `kill, all watchdogs had expired after ${one.expiredMs.toFixed(1)} ms`,
        );
      }
      return [reportOf(kills, `kill at ${flags.rate} Hz, ${flags.execution}`)];
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

function controllerArguments(
  { config, flags }: KillContext,
  [left, right]: readonly string[],
  cameras: string,
): string[] {
  return [
    ...["--robot", "aloha", "--left-port", left, "--right-port", right],
    ...["--cameras", cameras, "--auto-start", "--dxl-driver", "builtin"],
    ...["--bus-rate", flags.rate, "--execution", flags.execution, "--step-log", ""],
    ...["--controller-port", "0", "--task", config.task, "--device", config.device],
    ...["--seed", `${config.seed}`, "--max-episode-steps", "5000"],
    // Nobody listens there: the controller acts without a learner.
    ...["--learner-url", "ws://127.0.0.1:1/ws"],
    ...config.checkpoint === "" ? [] : ["--checkpoint", config.checkpoint],
  ];
}

interface KillParts {
  readonly context: KillContext;
  readonly emulator: EmulatorHost;
  readonly probe: StopProbe;
  readonly random: RandomSource;
  readonly args: readonly string[];
}

async function killOnce({ context, emulator, probe, random, args }: KillParts): Promise<Kill> {
  const { logger, signal } = context;
  await using child = new ControllerChild(args, (line) => logger.info(line));
  const until = async (what: string, isTrue: () => boolean) => {
    const endMs = sharedNowMs() + START_MS;
    while (!isTrue()) {
      signal.throwIfAborted();
      const lastWords = child.lines.slice(-3).join(" | ");
      if (child.hasEnded) throw new Error(`The controller ended before ${what}: ${lastWords}`);
      if (sharedNowMs() > endMs) {
        throw new Error(`No ${what} in ${START_MS / 1000} s: ${lastWords}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  };
  await until("episode", () => child.lines.some((line) => /Episode \S+ starts/.test(line)));
  const before = positionsOf(emulator);
  await until("motion", () => positionsOf(emulator).some((at, i) => at !== before[i]));
  const killMs = sharedNowMs() + uniform(random, 0, SPREAD_MS);
  await until("the random moment", () => sharedNowMs() >= killMs);
  const [{ actedMs, samples }, allExpiredMs] = await Promise.all([
    probe.probe({
      action: { kind: "kill", pid: child.pid },
      beforeMs: MOVING_MS,
      afterMs: WATCH_MS,
      positions: emulator.positions,
    }),
    whenAllExpire(emulator, sharedNowMs() + MOVING_MS + WATCH_MS),
  ]);
  return {
    stopMs: lastChangeMs(samples, actedMs) - actedMs,
    wasMoving: hasMoved(samples, actedMs - MOVING_MS, actedMs),
    expiredMs: allExpiredMs - actedMs,
  };
}

/** When every watchdog reads −1, in ms of `sharedNowMs`; NaN if that is not before `endMs`. */
async function whenAllExpire(emulator: EmulatorHost, endMs: number): Promise<number> {
  const buses = [...emulator.positions.keys()];
  while (sharedNowMs() < endMs) {
    const values = await Promise.all(
      buses.flatMap((bus) =>
        SERVO_LAYOUT.map(({ id }) =>
          emulator.command(bus, { kind: "get", id, item: "busWatchdog" })
        )
      ),
    );
    if (values.every((value) => value === -1)) return sharedNowMs();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return NaN;
}

function positionsOf({ positions }: EmulatorHost): number[] {
  return positions.flatMap((bus) => Array.from(bus, (_, i) => Atomics.load(bus, i)));
}

function reportOf(kills: readonly Kill[], title: string): SoakReport {
  const times = kills.map(({ stopMs }) => stopMs);
  const inTime = kills.filter(({ stopMs }) => stopMs <= GOAL_MS).length;
  const expiries = kills.map(({ expiredMs }) => expiredMs);
  return {
    title,
    findings: [
      { name: "kills", unit: "", value: kills.length },
      {
        name: "of them with servos in motion",
        unit: "",
        value: kills.filter(({ wasMoving }) => wasMoving).length,
      },
      {
        name: `servos stopped within ${GOAL_MS} ms`,
        unit: "times",
        value: inTime,
        goal: { kind: "at least", value: kills.length },
      },
      {
        name: "all watchdogs expired",
        unit: "times",
        value: expiries.filter(Number.isFinite).length,
        goal: { kind: "at least", value: kills.length },
      },
      { name: "kill to last motion p50", unit: "ms", value: percentile(times, 0.5) },
      {
        name: "kill to last motion max",
        unit: "ms",
        value: Math.max(...times),
        goal: { kind: "at most", value: GOAL_MS },
      },
      { name: "kill to all watchdogs expired p50", unit: "ms", value: percentile(expiries, 0.5) },
      { name: "kill to all watchdogs expired max", unit: "ms", value: Math.max(...expiries) },
    ],
    notes: [
      "watchdogs are asked for by turns of the event loop: on a busy machine they expired earlier",
      "every controller but the first began with expired watchdogs, and homed",
      loadNote(),
    ],
  };
}
