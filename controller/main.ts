/**
 * `deno task controller`: arguments → wiring, nothing else.
 * @module
 */

import { parseCommand } from "../common/cli/flags.ts";
import { consoleLogger } from "../common/cli/logger.ts";
import { runMain } from "../common/cli/main.ts";
import { readToken } from "../common/cli/surroundings.ts";
import { cacheFolder } from "../common/engine/tuning_store.ts";
import { ROBOT_FLAGS, ROBOT_KINDS } from "./aloha/flags.ts";
import { runController } from "./run.ts";

const COMMAND = {
  name: "deno task controller",
  summary:
    "Run the policy on simulated robots, emulated arms or a real ALOHA, execute its chunks " +
    "and send them to a learner.",
  preset: "demo",
  flags: {
    robot: {
      kind: "choice",
      choices: ROBOT_KINDS,
      default: "simulated",
      description:
        "simulated robots in MuJoCo, as many as --num-envs; emulated servos behind the " +
        "real drivers, in real time; or aloha, two ViperX 300 arms.",
    },
    ...ROBOT_FLAGS,
    controllerId: {
      kind: "string",
      default: "",
      description: "Name of this controller, unique at its learner; empty for a random one.",
    },
    json: {
      kind: "boolean",
      default: false,
      description: "Print events as JSON lines on stdout; the last one is the summary.",
    },
  },
} as const satisfies Parameters<typeof parseCommand>[0];

await runMain(async (signal) => {
  const parsed = parseCommand(COMMAND, Deno.args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const { config, flags } = parsed;
  const libraryVariable = Deno.env.get("TENDON_DXL_LIBRARY") ?? "";
  const print = (event: object) => flags.json && console.log(JSON.stringify(event));
  const summary = await runController(config, {
    robot: flags.robot === "simulated"
      ? { kind: "simulated" }
      : { kind: flags.robot, flags, libraryVariable },
    controllerId: flags.controllerId || `controller-${crypto.randomUUID().slice(0, 8)}`,
    token: await readToken(config.tokenFile),
    cacheFolder: cacheFolder(Deno.env, Deno.build.os),
    logger: consoleLogger({ name: "controller" }),
    signal,
    onListening: (url) => print({ event: "listening", url }),
  });
  print({ event: "summary", ...summary });
});
