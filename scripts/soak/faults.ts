/**
 * `deno task soak faults`: faults at random, and what becomes of the robot.
 *
 * @module
 */

import { join } from "node:path";
import { ARM_NAMES } from "../../common/robot/aloha.ts";
import type { OwnFlags } from "../../common/cli/command.ts";
import { textTable } from "../../common/cli/text_table.ts";
import { seededRandom } from "../../common/random.ts";
import { loadLimits } from "../../controller/safety/limits.ts";
import { readStepLog } from "../../controller/step_log/reader.ts";
import { sharedNowMs } from "../../controller/threads/clock.ts";
import { ARM_FLAGS, SILENT, type SoakContext, type SoakPart, soakPart } from "./command.ts";
import { FaultInjector, type FaultOutcome } from "./fault_injector.ts";
import { describePlannedFault, healsByItself, planFaults } from "./fault_plan.ts";
import { checkCommands, type LimitFindings } from "./limit_check.ts";
import { LogWatch } from "./log_watch.ts";
import { PolicyRun, policyRunOptions } from "./policy_run.ts";
import { type Finding, loadNote, type SoakReport } from "./report.ts";
import { writeTestCameras } from "./test_cameras.ts";

/** Longest wait for the first episode, in ms. */
const FIRST_EPISODE_MS = 120_000;
/** Share of all packets that meets each kind of fault, all the time; a late one is late by 5 ms. */
const PACKET_FAULTS = { drop: 0.01, corrupt: 0.01, delay: 0.01, duplicate: 0.01, delayMs: 5 };
/** Characters of a line of the log that are shown. */
const SHOWN = 120;

const FAULTS_FLAGS = {
  ...ARM_FLAGS,
  minutes: {
    kind: "number",
    default: 10,
    minimum: 0.1,
    maximum: 1_440,
    unit: "minutes",
    description: "Length, counted from the end of the first homing; no fault begins after it.",
  },
  minPause: {
    kind: "number",
    default: 10,
    minimum: 0,
    unit: "s",
    description: "Shortest time for which the robot runs between two faults.",
  },
  maxPause: {
    kind: "number",
    default: 30,
    minimum: 0,
    unit: "s",
    description: "Longest time for which the robot runs between two faults.",
  },
  keepLog: {
    kind: "string",
    default: "",
    unit: "path",
    description: "Folder that keeps the step log; empty for one that is removed afterwards.",
  },
} as const satisfies OwnFlags;

type FaultsContext = SoakContext<typeof FAULTS_FLAGS>;

/** What became of everything. */
interface FaultRun {
  readonly outcomes: readonly FaultOutcome[];
  readonly episodes: number;
  readonly interruptions: number;
  readonly retries: number;
  readonly incomplete: number;
  readonly limits: LimitFindings;
}

/** The part. */
export const faults: SoakPart = soakPart(
  "faults",
  "Break servos, buses, cameras and packets of emulated arms at random, and see whether the run goes on.",
  FAULTS_FLAGS,
  async (context) => {
    const { flags } = context;
    const folder = await Deno.makeTempDir({ prefix: "tendon-soak-" });
    try {
      const stepLog = flags.keepLog || join(folder, "log");
      return [reportOf(context, await runWithFaults(context, folder, stepLog))];
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);

async function runWithFaults(
  context: FaultsContext,
  folder: string,
  stepLog: string,
): Promise<FaultRun> {
  const { flags, config, progress } = context;
  const watch = new LogWatch(flags.verbose ? context.logger : SILENT, sharedNowMs);
  const cameras = await writeTestCameras(folder);
  const options = policyRunOptions({ ...context, logger: watch }, { cameras, stepLog });
  const outcomes: FaultOutcome[] = [];
  let path: string, counted: Pick<FaultRun, "interruptions" | "retries" | "incomplete">;
  {
    await using run = await PolicyRun.start(options);
    await run.until("first episode", () => run.isRunning, FIRST_EPISODE_MS);
    const emulator = run.robot.arms.emulator!;
    for (const bus of ARM_NAMES.keys()) {
      await emulator.command(bus, { kind: "faults", rates: PACKET_FAULTS });
    }
    const endMs = sharedNowMs() + 60_000 * flags.minutes;
    const pauses = { minS: flags.minPause, maxS: Math.max(flags.minPause, flags.maxPause) };
    const injector = new FaultInjector(run, watch);
    for (const fault of planFaults(seededRandom(config.seed), pauses)) {
      const atMs = sharedNowMs() + fault.afterMs;
      if (atMs > endMs) break;
      await run.until("time of a fault", () => sharedNowMs() >= atMs, fault.afterMs + 60_000);
      const outcome = await injector.inject(fault);
      outcomes.push(outcome);
      progress.info(`${describePlannedFault(fault)}: ${outcomeText(outcome)}`);
      if (outcome.resumedMs === null) break;
    }
    const status = run.source.status() as { interruptions: number };
    const counters = ARM_NAMES.map((arm) => run.robot.arms.buses[arm].counters());
    counted = {
      interruptions: status.interruptions,
      retries: counters.reduce((sum, { retries }) => sum + retries, 0),
      incomplete: counters.reduce((sum, { incomplete }) => sum + incomplete, 0),
    };
    path = run.robot.log!.path;
  }
  const log = await readStepLog(path);
  const { limits } = await loadLimits(null);
  const episodes = log.events.filter(({ text }) => / starts, seed /.test(text)).length;
  return { outcomes, episodes, ...counted, limits: checkCommands(log, limits) };
}

function outcomeText({ named, resumedMs, operator }: FaultOutcome): string {
  const resumed = resumedMs === null
    ? "NOT RESUMED"
    : `ran again after ${(resumedMs / 1000).toFixed(1)} s`;
  const person = operator.length === 0 ? "" : ` (${operator.join(", ")})`;
  return `${resumed}${person}; ${named === null ? "NOT NAMED" : oneLine(named.message)}`;
}

function reportOf({ flags, config }: FaultsContext, run: FaultRun): SoakReport {
  const { outcomes, limits } = run;
  const none = { goal: { kind: "at most", value: 0 } } as const;
  const violations = Object.values(limits.violations).reduce((sum, count) => sum + count, 0);
  const healing = outcomes.filter(({ fault }) => healsByItself(fault));
  const findings: Finding[] = [
    { name: "faults injected", unit: "", value: outcomes.length },
    {
      name: "not named in the log",
      unit: "",
      value: outcomes.filter(({ named }) => named === null).length,
      ...none,
    },
    {
      name: "not followed by a running robot",
      unit: "",
      value: outcomes.filter(({ resumedMs }) => resumedMs === null).length,
      ...none,
    },
    {
      name: "needed a person, but should not",
      unit: "",
      value: healing.filter(({ operator }) => operator.length > 0).length,
      ...none,
    },
    { name: "episodes", unit: "", value: run.episodes },
    { name: "interruptions", unit: "", value: run.interruptions },
    { name: "answers asked for again", unit: "", value: run.retries },
    { name: "cycles without all answers", unit: "", value: run.incomplete },
    { name: "commands checked", unit: "", value: limits.commands },
    { name: "commands outside the limits", unit: "", value: violations, ...none },
    { name: "largest velocity", unit: "of its limit", value: limits.largestShare.velocity },
    { name: "largest acceleration", unit: "of its limit", value: limits.largestShare.acceleration },
    { name: "motions begun anew", unit: "", value: limits.restarts },
  ];
  const table = textTable(
    ["fault", "ran again s", "named s", "a person"],
    outcomes.map(({ fault, namedMs, resumedMs, operator }) => [
      describePlannedFault(fault),
      resumedMs === null ? "never" : (resumedMs / 1000).toFixed(1),
      namedMs === null ? "never" : (namedMs / 1000).toFixed(2),
      operator.join(", ") || "–",
    ]),
  );
  const lines = outcomes.map(({ fault, named }) =>
    `${describePlannedFault(fault)}\n  ` +
    (named === null ? "not named" : `${named.level}: ${oneLine(named.message)}`)
  );
  return {
    title: `faults at ${flags.rate} Hz, ${flags.execution}, seed ${config.seed}`,
    findings,
    notes: [
      "1 % of all packets each dropped, corrupted, 5 ms late and doubled, all the time",
      loadNote(),
      ...limits.examples,
      "",
      table,
      "",
      "How the log named them:",
      ...lines,
    ],
  };
}

function oneLine(message: string): string {
  return message.replaceAll("\n", " ").slice(0, SHOWN);
}
