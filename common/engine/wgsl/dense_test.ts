import assert from "node:assert/strict";
import { referenceGelu, relativeError } from "../reference.ts";
import {
  download,
  hasAdapter,
  noise,
  openTestGpu,
  runKernel,
  stateWords,
  upload,
} from "../testing.ts";
import { DENSE_OUTPUTS, denseKernel, MEAN_THREADS, meanStatesKernel } from "./dense.ts";

const ignore = !await hasAdapter();
const TOLERANCE = 2e-3;

Deno.test({
  name: "denseKernel() multiplies and adds a bias at awkward shapes, with and without gelu",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const shapes = [[1, 1], [33, 1], [7, 17], [64, 16], [300, 50]];
    for (const [i, [columns, outputs]] of shapes.entries()) {
      const isActivated = i % 2 === 0;
      const [x, weights] = [noise(1, columns), noise(2, columns * outputs)];
      const bias = noise(3, outputs);
      const out = gpu.buffers.storage("out", 4 * outputs);
      const bound = {
        x: upload(gpu, x),
        weights: upload(gpu, weights),
        bias: upload(gpu, bias),
        out,
      };
      const groups = Math.ceil(outputs / DENSE_OUTPUTS);
      await runKernel(gpu, denseKernel({ columns, outputs, isActivated }), bound, groups);
      const expected = Float64Array.from(bias, (b, o) => {
        const y = x.reduce((sum, v, c) => sum + v * weights[c * outputs + o], b);
        return isActivated ? referenceGelu(y) : y;
      });
      const actual = new Float32Array(await download(gpu, out)).slice(0, outputs);
      assert.ok(relativeError(actual, expected) < TOLERANCE, `${columns} → ${outputs}`);
    }
  },
});

Deno.test({
  name: "meanStatesKernel() takes the states of a chunk's tokens, as many as count",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const [steps, width] = [5, 70];
    const states = noise(4, steps * width);
    for (const [drawn, used] of [[0, 1], [1, 1], [3, 3], [5, 5], [40, 5]]) {
      const mean = gpu.buffers.storage("mean", 4 * width);
      const words = stateWords(0);
      words[1] = drawn;
      const bound = {
        state: gpu.buffers.uniform("state", words),
        hidden: upload(gpu, states),
        mean,
      };
      const groups = Math.ceil(width / MEAN_THREADS);
      await runKernel(gpu, meanStatesKernel(steps, width), bound, groups);
      const expected = Float64Array.from({ length: width }, (_, d) => {
        let sum = 0;
        for (let s = 0; s < used; s++) sum += states[s * width + d];
        return sum / used;
      });
      const actual = new Float32Array(await download(gpu, mean)).slice(0, width);
      assert.ok(relativeError(actual, expected) < 1e-5, `${drawn} drawn`);
    }
  },
});
