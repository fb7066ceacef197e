import assert from "node:assert/strict";
import { resetState } from "../../common/robot/aloha.ts";
import { CAMERA_NAMES } from "../../common/types.ts";
import { SimulatedAloha } from "../sim/aloha_sim.ts";
import { replayOnSimulation } from "./replay.ts";
import { type TestCycle, testLog } from "./testing.ts";

/** What the simulation does on a smooth motion: commands, and the joints as they were before each. */
async function recorded(steps: number): Promise<TestCycle[]> {
  using robot = await SimulatedAloha.create({ task: "transfer_cube" });
  const cycles: TestCycle[] = [];
  for (let step = 0; step < steps; step++) {
    const command = resetState(1);
    command[0] = 0.3 * Math.sin(step / 20);
    command[9] += 0.1 * (1 - Math.cos(step / 20));
    command[13] = 0.5 + 0.5 * Math.cos(step / 10);
    cycles.push({ step, command, measured: robot.readState().slice() });
    robot.stepSync(command);
  }
  return cycles;
}

Deno.test("replayOnSimulation() follows a log of the simulation itself to rounding", async () => {
  const replay = await replayOnSimulation(testLog(await recorded(60)), { task: "transfer_cube" });
  assert.equal(replay.cycles, 60);
  assert.ok(replay.max.every((x) => x < 1e-3), `${replay.max}`);
  assert.ok(replay.rms.every((x, i) => x <= replay.max[i]));
});

Deno.test("replayOnSimulation() shows a wrong joint, places arms anew after a restart, takes pictures", async () => {
  const cycles = await recorded(30);
  const shown: number[] = [];
  const wrong = cycles.map((cycle): TestCycle => {
    if (cycle.step === 15) return { step: 15, planId: 0, hold: "not started" };
    const measured = Float32Array.from(cycle.measured as Float32Array);
    if (cycle.step > 20) measured[8] += 0.5;
    return { ...cycle, measured };
  });
  const replay = await replayOnSimulation(testLog(wrong), {
    task: "reach",
    frames: {
      every: 10,
      size: 16,
      onFrame: ({ cycle, images }) => {
        shown.push(cycle);
        for (const camera of CAMERA_NAMES) assert.equal(images[camera].data.length, 16 * 16 * 3);
        return Promise.resolve();
      },
    },
  });
  assert.equal(replay.cycles, 29);
  assert.deepEqual([replay.frames, shown], [3, [0, 10, 21]]);
  assert.ok(Math.abs(replay.max[8] - 0.5) < 0.1);
  assert.ok(replay.max[0] < 0.05);
});

Deno.test("replayOnSimulation() refuses a log without a pose, and stops when told", async () => {
  const silent = testLog([{ step: 0, measured: new Float64Array(14).fill(NaN) }]);
  await assert.rejects(
    replayOnSimulation(silent, { task: "reach" }),
    /Cannot replay: none of the log's 1 cycles has a command and a measured pose/,
  );
  const stop = new AbortController();
  stop.abort(new DOMException("Stopped by a test", "AbortError"));
  await assert.rejects(
    replayOnSimulation(silent, { task: "reach", signal: stop.signal }),
    { message: "Stopped by a test" },
  );
});
