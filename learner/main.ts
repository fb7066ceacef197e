/**
 * `deno task learner`: arguments → wiring, nothing else.
 * @module
 */

import { parseCommand } from "../common/cli/flags.ts";
import { consoleLogger } from "../common/cli/logger.ts";
import { runMain } from "../common/cli/main.ts";
import { readToken } from "../common/cli/surroundings.ts";
import { runLearner } from "./run.ts";

const COMMAND = {
  name: "deno task learner",
  summary: "Take chunks from controllers, improve the policy by chunk-level PPO, publish weights.",
  preset: "demo",
  flags: {
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
  const print = (event: object) => flags.json && console.log(JSON.stringify(event));
  const logger = consoleLogger({ name: "learner" });
  const percent = (x: number | null) => x === null ? "–" : `${(100 * x).toFixed(0)} %`;
  const summary = await runLearner(config, {
    token: await readToken(config.tokenFile),
    wandbApiKey: Deno.env.get("WANDB_API_KEY"),
    command: ["deno task learner", ...Deno.args].join(" "),
    logger,
    signal,
    onListening: (url) => print({ event: "listening", url }),
    onUpdate: (record) => {
      print({ event: "update", ...record });
      logger.info(
        `update ${record.update}: success ${percent(record.successRate)}, ` +
          `reward ${record.episodeReward?.toFixed(2) ?? "–"}, ` +
          `KL ${record.approxKl.toFixed(4)}, ${record.chunksPerSecond.toFixed(0)} chunks/s`,
      );
    },
  });
  print({ event: "summary", ...summary });
});
