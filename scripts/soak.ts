/**
 * `deno task soak`: measures the path of the real robot on emulated arms, for as long as wanted, with
 * the policy inferring in the same controller, and compares the numbers with their goals.
 *
 * @module
 */

import { UsageError } from "../common/cli/flags.ts";
import { runMain } from "../common/cli/main.ts";
import { nearest } from "../common/cli/nearest.ts";
import type { SoakPart } from "./soak/command.ts";
import { estop } from "./soak/estop.ts";
import { faults } from "./soak/faults.ts";
import { jerk } from "./soak/jerk.ts";
import { kill } from "./soak/kill.ts";
import { steady } from "./soak/steady.ts";

const PARTS: Readonly<Record<string, SoakPart>> = { steady, estop, kill, faults, jerk };

const HELP = [
  "deno task soak PART [flags]",
  "",
  "Measure the path of the real robot on emulated arms. A missed goal ends with exit code 1.",
  "",
  "Parts:",
  ...Object.entries(PARTS).map(([name, { summary }]) => `  ${name.padEnd(8)}${summary}`),
  "",
  "deno task soak PART --help lists the flags of a part.",
].join("\n");

await runMain(async (signal) => {
  const [name = "--help", ...args] = Deno.args.filter((arg) => arg !== "--");
  if (name === "--help" || name === "-h") return console.log(HELP);
  const part = Object.hasOwn(PARTS, name) ? PARTS[name] : undefined;
  if (part !== undefined) return await part.run(args, signal);
  const meant = nearest(name, Object.keys(PARTS));
  throw new UsageError(
    `Unknown part ${JSON.stringify(name)}: ` +
      (meant === undefined ? "" : `did you mean ${meant}? `) +
      "run deno task soak --help for the list.",
  );
});
