/**
 * `deno task checkpoint`: look at checkpoints of any origin, and convert them.
 * @module
 */

import { UsageError } from "../common/cli/flags.ts";
import { runMain } from "../common/cli/main.ts";
import { nearest } from "../common/cli/nearest.ts";
import { runConvert } from "./checkpoint/convert.ts";
import { runInspect } from "./checkpoint/inspect.ts";

const SUBCOMMANDS = { inspect: runInspect, convert: runConvert } as const;

const HELP = `deno task checkpoint – look at checkpoints of any origin, and convert them.

  inspect DIR [--json]       what it is, its tensors, its size, its metadata
  convert SRC DEST [--flag]  change its format (safetensors, orbax) and precision

Checkpoints of openpi (Orbax), LeRobot (safetensors), Tendon and PaliGemma (npz) are read.
Run deno task checkpoint inspect --help or … convert --help for the flags.`;

async function main(): Promise<void> {
  const [name, ...args] = Deno.args.filter((argument) => argument !== "--");
  if (name === "--help" || name === "-h") return console.log(HELP);
  const run = Object.entries(SUBCOMMANDS).find(([known]) => known === name)?.[1];
  if (run === undefined) {
    const names = Object.keys(SUBCOMMANDS);
    const meant = name === undefined ? undefined : nearest(name, names);
    throw new UsageError(
      `${name === undefined ? "Say what to do" : `Unknown subcommand ${JSON.stringify(name)}`}: ` +
        `deno task checkpoint takes ${names.join(" or ")}` +
        `${meant === undefined ? "." : `; did you mean ${meant}?`}`,
    );
  }
  await run(args, (line) => console.log(line));
}

if (import.meta.main) await runMain(main);
