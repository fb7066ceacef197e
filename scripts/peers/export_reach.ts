/**
 * Writes the task `reach` for programs that are no part of this project, such as
 * `stable_baselines3_reach.py`.
 *
 *     deno run --allow-read --allow-write --allow-env scripts/peers/export_reach.ts --out FOLDER
 *
 * @module
 */

import { parseArgs } from "node:util";
import { REACH_FILES, writeReachScene } from "./reach_scene.ts";

const HELP = `Write the scene and the rules of reach for programs in other languages.

Usage: deno run --allow-read --allow-write --allow-env scripts/peers/export_reach.ts [flags]

  --out FOLDER    where to write ${REACH_FILES.scene} and ${REACH_FILES.task} (default runs/reach)
  --episodes N    held-out episodes to describe, 1–10000 (default 200)
  --help          show this text
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: "string", default: "runs/reach" },
      episodes: { type: "string", default: "200" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const episodes = Number(values.episodes);
  if (!Number.isInteger(episodes) || episodes < 1 || episodes > 10_000) {
    throw new RangeError(`--episodes is "${values.episodes}", expected an integer in 1–10000`);
  }
  await writeReachScene(values.out, episodes);
  console.log(`Wrote ${REACH_FILES.scene} and ${REACH_FILES.task} to ${values.out}`);
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}
