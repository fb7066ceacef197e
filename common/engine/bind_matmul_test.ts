import assert from "node:assert/strict";
import { openAny } from "../device/testing.ts";
import {
  bindMatmul,
  createMatmulChoice,
  MATMUL_FORMATS,
  matmulFormats,
  type MatmulTask,
} from "./bind_matmul.ts";
import { GpuBuffers } from "./gpu_buffers.ts";
import { createGpuMatrix, writeRows } from "./gpu_matrix.ts";
import { KernelCache, record } from "./kernel.ts";
import { floatRows, type MatrixRows, paddedColumns } from "./packed_rows.ts";
import { referenceMatvec, relativeError } from "./reference.ts";
import { download, hasAdapter, noise, padRows, randomPacked, upload } from "./testing.ts";
import { storePlain } from "./wgsl/epilogues.ts";

const ignore = !await hasAdapter();
const [TOKENS, ROWS, COLUMNS] = [70, 33, 45];

function randomFloats(): MatrixRows {
  const layout = { outer: ROWS, contraction: COLUMNS, inner: 1, outerAxes: 1, contractionAxes: 1 };
  return floatRows(noise(3, ROWS * COLUMNS), layout, 0, ROWS);
}

Deno.test({
  name: "bindMatmul() multiplies in every format that the device has, with weights of any bits",
  ignore,
  async fn() {
    using gpu = await openAny();
    using buffers = new GpuBuffers(gpu.device);
    const test = { device: gpu.device, buffers, kernels: new KernelCache(gpu.device) };
    const made = { ...test, hasSubgroups: false, [Symbol.dispose]: () => {} };
    const x = noise(4, TOKENS * COLUMNS);
    const places = upload(made, Uint32Array.of(TOKENS, TOKENS, 0, 0, 0, 1));
    for (
      const rows of [
        randomPacked(1, ROWS, COLUMNS),
        randomPacked(2, ROWS, COLUMNS, 4),
        randomFloats(),
      ]
    ) {
      const expected = Array.from(
        { length: TOKENS },
        (_, t) => [...referenceMatvec(rows, x.subarray(t * COLUMNS, (t + 1) * COLUMNS))],
      ).flat();
      const matrix = createGpuMatrix(buffers, "test", rows, 16 * 4 * paddedColumns(COLUMNS));
      writeRows(gpu.device, matrix, 0, rows);
      for (const format of matmulFormats(gpu)) {
        const out = buffers.storage("out", 4 * TOKENS * paddedColumns(ROWS));
        const bound = { places, x: upload(made, padRows(x, COLUMNS)), out };
        const task = { label: "test", matrix, epilogue: storePlain(ROWS), bound };
        const choice = createMatmulChoice(buffers, format, TOKENS, COLUMNS);
        const dispatches = await bindMatmul(test.kernels, task, choice);
        const isRounded = format === "int8" && rows.bits !== 32;
        assert.equal(dispatches.length, matrix.shards.length + Number(isRounded));
        const encoder = gpu.device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        record(pass, dispatches, TOKENS);
        pass.end();
        gpu.device.queue.submit([encoder.finish()]);
        const stride = paddedColumns(ROWS);
        const padded = new Float32Array(await download(made, out));
        const y = Float32Array.from(
          expected,
          (_, i) => padded[Math.floor(i / ROWS) * stride + i % ROWS],
        );
        const tolerance = { float32: 1e-5, float16: 1e-3, int8: 5e-3 }[format];
        const error = relativeError(y, expected);
        assert.ok(error < tolerance, `${format}, ${rows.bits} bits: ${error}`);
      }
    }
    gpu.check();
  },
});

Deno.test({
  name: "matmulFormats() offers nothing coarser than what is allowed",
  ignore,
  async fn() {
    using gpu = await openAny();
    for (const coarsest of MATMUL_FORMATS) {
      const formats = matmulFormats(gpu, coarsest);
      assert.equal(formats[0], "float32");
      const allowed = MATMUL_FORMATS.slice(0, MATMUL_FORMATS.indexOf(coarsest) + 1);
      assert.ok(formats.every((format) => allowed.includes(format)));
    }
  },
});

Deno.test({
  name: "bindMatmul() refuses to round vectors without a place for them",
  ignore,
  async fn() {
    using gpu = await openAny();
    using buffers = new GpuBuffers(gpu.device);
    const matrix = createGpuMatrix(buffers, "test", { bits: 8, rows: 2, columns: 32 });
    const task: MatmulTask = { label: "test", matrix, epilogue: storePlain(2), bound: {} };
    const bound = bindMatmul(new KernelCache(gpu.device), task, { format: "int8" });
    await assert.rejects(bound, { name: "TypeError", message: /no buffer for rounded vectors/ });
  },
});
