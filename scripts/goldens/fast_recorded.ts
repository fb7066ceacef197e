/**
 * Writes `tests/fixtures/tokenizer/recorded.json`: normalised chunks of real demonstrations of the
 * simulated robot, which `fast_goldens.py` and the tests then tokenize.
 *
 *     deno run --allow-read --allow-write --allow-env --allow-sys scripts/goldens/fast_recorded.ts
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { normalizeActions, toPolicyActions } from "../../common/policy/action_transform.ts";
import { seededRandom } from "../../common/random.ts";
import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { computeFieldStats } from "../../common/tokenizer/normalization.ts";
import { SimulatedAloha } from "../../controller/sim/aloha_sim.ts";
import { recordDemonstrations } from "../../controller/sim/demonstrations.ts";

const HORIZON = 16;
/** Chunks kept of each task. */
const CHUNKS = 40;

const chunks: string[] = [];
for (const task of ["reach", "transfer_cube"] as const) {
  using robot = await SimulatedAloha.create({
    task,
    imageSize: 14,
    maxEpisodeSteps: task === "reach" ? 50 : 400,
    actionDim: ALOHA_DIM,
    startNoiseRad: 0.05,
  });
  const { examples } = recordDemonstrations(robot, {
    episodes: task === "reach" ? 20 : 4,
    firstSeed: 1,
    horizon: HORIZON,
    stride: 8,
    demonstrator: {
      speed: 1,
      jointNoiseRad: 0,
      aimNoiseM: task === "reach" ? 0.008 : 0,
      aimBiasM: 0,
      random: seededRandom(1),
    },
  });
  const raw = examples.map((e) => toPolicyActions(e.actions, e.observation.state, ALOHA_DIM));
  const field = computeFieldStats(raw.flatMap((chunk) => [...chunk]), ALOHA_DIM);
  const stats = { state: field, actions: field };
  const every = Math.floor(raw.length / CHUNKS);
  for (let i = 0; i < CHUNKS; i++) {
    const { buffer } = normalizeActions(raw[i * every], stats);
    chunks.push(new Uint8Array(buffer as ArrayBuffer).toBase64());
  }
}
const path = new URL("../../tests/fixtures/tokenizer/recorded.json", import.meta.url);
Deno.writeTextFileSync(
  fileURLToPath(path),
  `${JSON.stringify({ horizon: HORIZON, actionDim: ALOHA_DIM, float32: chunks }, null, 1)}\n`,
);
