import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ACTION_RANGES, resetState } from "../../common/robot/aloha.ts";
import { seededRandom, uniform } from "../../common/random.ts";
import { HELD_OUT_SEED } from "../../controller/evaluation.ts";
import { beginningOf, createReachRobot, REACH_FILES, writeReachScene } from "./reach_scene.ts";

const SCRIPT = fileURLToPath(new URL("reach_world.py", import.meta.url));
const STEPS = 60;

interface Played {
  readonly qpos: number[][];
  readonly states: number[][];
  readonly rewards: number[];
  readonly successes: boolean[];
}

/** Why native MuJoCo cannot be asked; null if it can. */
async function missingMujoco(): Promise<string | null> {
  const python = Deno.env.get("TENDON_PYTHON");
  if (python === undefined) return "TENDON_PYTHON names no Python";
  const { success } = await new Deno.Command(python, {
    args: ["-c", "import mujoco, numpy"],
    stdout: "null",
    stderr: "null",
  }).output();
  return success ? null : `${python} lacks mujoco (pip install mujoco)`;
}

const reason = await missingMujoco();

Deno.test("writeReachScene() describes the same held-out episodes as the simulation has", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const facts = await writeReachScene(folder, 3);
    const written = JSON.parse(await Deno.readTextFile(join(folder, REACH_FILES.task)));
    assert.deepEqual(written, JSON.parse(JSON.stringify(facts)));
    const xml = await Deno.readTextFile(join(folder, REACH_FILES.scene));
    assert.match(xml, /^<mujoco model="tendon_aloha">/);
    using robot = await createReachRobot(facts.maxEpisodeSteps);
    for (const [i, episode] of facts.heldOut.entries()) {
      assert.deepEqual(episode, beginningOf(robot, HELD_OUT_SEED + i));
      episode.ball.forEach((at, k) => assert.ok(at >= facts.box.min[k] && at <= facts.box.max[k]));
    }
    assert.ok(facts.actions.low.every((low, i) => low < facts.actions.high[i]));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test({
  name: "reach moves alike in this project and in native MuJoCo" +
    (reason ? ` (skipped: ${reason})` : ""),
  ignore: reason !== null,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const facts = await writeReachScene(folder, 1);
      using robot = await createReachRobot(STEPS + 1);
      const random = seededRandom(7);
      const ours: Played[] = [];
      const episodes = [0, 1, 2, 3].map((seed) => {
        const beginning = beginningOf(robot, seed);
        const played: Played = { qpos: [], states: [], rewards: [], successes: [] };
        const target = resetState(1);
        const targets: number[][] = [];
        for (let step = 0; step < STEPS && !robot.hasEnded; step++) {
          // A walk that reaches limits and the table, and asks for what is out of range.
          target.forEach((value, i) => {
            const { min, max } = ACTION_RANGES[i];
            target[i] = value + 0.04 * (max - min) * uniform(random, -1, 1);
          });
          targets.push([...target]);
          const { reward, isTerminal } = robot.stepSync(target);
          played.qpos.push([...robot.data.views.qpos]);
          played.states.push([...robot.readState()]);
          played.rewards.push(reward);
          played.successes.push(isTerminal);
        }
        ours.push(played);
        return { ...beginning, targets };
      });
      const check = join(folder, "check.json");
      await Deno.writeTextFile(check, JSON.stringify({ episodes }));
      const { success, stdout, stderr } = await new Deno.Command(Deno.env.get("TENDON_PYTHON")!, {
        args: [SCRIPT, folder, check],
      }).output();
      assert.ok(success, new TextDecoder().decode(stderr));
      const theirs: Played[] = JSON.parse(new TextDecoder().decode(stdout)).episodes;
      assert.equal(theirs.length, ours.length);
      assert.equal(facts.substeps, 10);
      const moved = ours.map(({ qpos }, i) =>
        Math.max(...qpos.at(-1)!.map((at, j) => Math.abs(at - episodes[i].qpos[j])))
      );
      assert.ok(Math.min(...moved) > 0.3, `joints moved by ${moved} rad`);
      for (const [i, { qpos, states, rewards, successes }] of ours.entries()) {
        assertClose(qpos.flat(), theirs[i].qpos.flat(), 1e-6);
        assertClose(states.flat(), theirs[i].states.flat(), 1e-6);
        assertClose(rewards, theirs[i].rewards, 1e-5);
        assert.deepEqual(successes, theirs[i].successes);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

function assertClose(ours: number[], theirs: number[], tolerance: number): void {
  assert.equal(ours.length, theirs.length);
  const worst = Math.max(...ours.map((value, i) => Math.abs(value - theirs[i])));
  assert.ok(worst <= tolerance, `the largest difference is ${worst}, expected ≤ ${tolerance}`);
}
