/**
 * `deno task robot`: the tool for a person at the arms.
 * @module
 */

import { UsageError } from "../common/cli/flags.ts";
import { runMain } from "../common/cli/main.ts";
import { nearest } from "../common/cli/nearest.ts";
import { runCalibrate } from "./robot/calibrate.ts";
import { runCheck } from "./robot/check.ts";
import { runMonitor } from "./robot/monitor.ts";
import { runHome, runSleep } from "./robot/move.ts";
import { runTorqueOff } from "./robot/torque_off.ts";

const SUBCOMMANDS = {
  "check": runCheck,
  "home": runHome,
  "sleep": runSleep,
  "torque-off": runTorqueOff,
  "monitor": runMonitor,
  "calibrate": runCalibrate,
} as const;

const HELP = `deno task robot – look at the arms, move them to rest and let them go.

  check        look at every servo and say what is wrong; touches nothing
  home         make both arms hold and move them to the reset pose
  sleep        lay both arms down and switch torque off
  torque-off   switch torque off at once: the arms drop
  monitor      show what every servo says, until Ctrl-C; touches nothing
  calibrate    make servos report the truth about a known pose

All take --robot aloha (default) or emulated. What moves or drops real arms waits for Enter, or for
--yes. Ctrl-C stops all motion at once. Run deno task robot check --help and so on for the flags.`;

async function main(signal: AbortSignal): Promise<void> {
  const [name, ...args] = Deno.args.filter((argument) => argument !== "--");
  if (name === "--help" || name === "-h") return console.log(HELP);
  const run = Object.entries(SUBCOMMANDS).find(([known]) => known === name)?.[1];
  if (run === undefined) {
    const names = Object.keys(SUBCOMMANDS);
    const meant = name === undefined ? undefined : nearest(name, names);
    throw new UsageError(
      `${name === undefined ? "Say what to do" : `Unknown subcommand ${JSON.stringify(name)}`}: ` +
        `deno task robot takes ${names.slice(0, -1).join(", ")} or ${names.at(-1)}` +
        `${meant === undefined ? "." : `; did you mean ${meant}?`}`,
    );
  }
  await run(args, {
    print: (line) => console.log(line),
    signal,
    libraryVariable: Deno.env.get("TENDON_DXL_LIBRARY") ?? "",
  });
}

if (import.meta.main) await runMain(main);
