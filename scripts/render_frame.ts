/**
 * Renders what the three cameras of the simulated robot see at the start of an episode, or some steps
 * into a demonstration, side by side into a PNG.
 *
 *     deno run --allow-read --allow-write scripts/render_frame.ts --task reach --out frame.png
 *
 * @module
 */

import { parseArgs } from "node:util";
import { encode } from "fast-png";
import { CAMERA_NAMES, type RgbImage } from "../common/types.ts";
import { SimulatedAloha } from "../controller/sim/aloha_sim.ts";
import { createDemonstrator } from "../controller/sim/demonstrator.ts";
import { parseTaskName, TASK_NAMES, type TaskName } from "../controller/sim/task_names.ts";

const HELP = `Render the three cameras of the simulated robot side by side into a PNG.

Usage: deno run --allow-read --allow-write scripts/render_frame.ts [flags]

  --task NAME    ${TASK_NAMES.join(" or ")} (default reach)
  --seed N       integer that decides where things are (default 0)
  --size N       width and height of each picture, 1–4096 pixels (default 480)
  --steps N      control steps of 20 ms to demonstrate first, 0–400 (default 0)
  --out FILE     where to write (default frame.png)
  --help         show this text
`;

interface Settings {
  readonly task: TaskName;
  readonly seed: number;
  readonly size: number;
  readonly steps: number;
  readonly out: string;
}

function parseSettings(args: string[]): Settings | "help" {
  const { values } = parseArgs({
    args,
    options: {
      task: { type: "string", default: "reach" },
      seed: { type: "string", default: "0" },
      size: { type: "string", default: "480" },
      steps: { type: "string", default: "0" },
      out: { type: "string", default: "frame.png" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return "help";
  return {
    task: parseTaskName(values.task),
    seed: parseInteger("--seed", values.seed, 0, 2 ** 31 - 1),
    size: parseInteger("--size", values.size, 1, 4096),
    steps: parseInteger("--steps", values.steps, 0, 400),
    out: values.out,
  };
}

function parseInteger(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${flag} is "${text}", expected an integer in ${min}–${max}`);
  }
  return value;
}

function joinSideBySide(images: readonly RgbImage[]): RgbImage {
  const { height } = images[0];
  const width = images.reduce((sum, image) => sum + image.width, 0);
  const data = new Uint8Array(3 * width * height);
  for (let row = 0; row < height; row++) {
    let at = 3 * width * row;
    for (const image of images) {
      const bytes = 3 * image.width;
      data.set(image.data.subarray(bytes * row, bytes * (row + 1)), at);
      at += bytes;
    }
  }
  return { width, height, data };
}

async function render({ task, seed, size, steps, out }: Settings): Promise<void> {
  using robot = await SimulatedAloha.create({ task, imageSize: size });
  robot.resetSync(seed);
  const demonstrator = createDemonstrator(robot);
  demonstrator.reset();
  for (let i = 0; i < steps && !robot.hasEnded; i++) robot.stepSync(demonstrator.act());
  const { images } = robot.observeSync();
  const { width, height, data } = joinSideBySide(CAMERA_NAMES.map((name) => images[name]));
  await Deno.writeFile(out, encode({ width, height, data, channels: 3 }));
  console.log(
    `Wrote ${out}: ${CAMERA_NAMES.join(", ")} of ${task}, seed ${seed}, after ${robot.steps} steps`,
  );
}

/** Parse, render; 0 done, 1 failed, 2 bad usage. */
async function main(args: string[]): Promise<number> {
  let settings: Settings | "help";
  try {
    settings = parseSettings(args);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\nSee --help.`);
    return 2;
  }
  if (settings === "help") {
    console.log(HELP);
    return 0;
  }
  try {
    await render(settings);
    return 0;
  } catch (error) {
    console.error(`Cannot render: ${error instanceof Error ? error.message : error}`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
