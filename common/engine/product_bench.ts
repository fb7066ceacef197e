/**
 * How long a policy's products take, with kernels of any shape and format: what the tuner compares.
 *
 * @module
 */

import type { GpuDevice } from "../device/gpu_device.ts";
import { timeGpu, type TimeGpuOptions } from "../device/time_gpu.ts";
import {
  bindMatmul,
  createMatmulChoice,
  type MatmulFormat,
  type MatmulTask,
} from "./bind_matmul.ts";
import { capacityOf, type EngineModel } from "./engine_model.ts";
import type { LayerWeights } from "./engine_weights.ts";
import { GpuBuffers } from "./gpu_buffers.ts";
import { type GpuMatrix, matrixBytes } from "./gpu_matrix.ts";
import { type Dispatch, KernelCache, record } from "./kernel.ts";
import { paddedColumns } from "./packed_rows.ts";
import { storeGated, storeResidual } from "./wgsl/epilogues.ts";
import { matvecKernel, type MatvecOptions, type MatvecShape } from "./wgsl/matvec.ts";
import { DECODE_STATE, PLACES_HEADER_WORDS } from "./wgsl/shared.ts";

/** The largest matrices of a layer. */
export type MlpWeights = Pick<LayerWeights, "gateUp" | "down">;

/** Bytes of weights that a measurement walks through: more than a GPU's cache holds. */
const WALKED_BYTES = 1 << 28;
/** Tokens of a measured product: enough for every core of a large GPU, or for those of a small one. */
const TOKENS = { many: 512, few: 64 } as const;
/** A GPU that takes longer for the few, in ms, is small: the many would take longer than there is time. */
const FEW_MS = 10;

/** Times products of a model's MLP. */
export class ProductBench {
  /** Bytes of weights that one run of {@link matvecMs} reads. */
  readonly walkedBytes: number;
  readonly #gpu: GpuDevice;
  readonly #model: EngineModel;
  readonly #walked: readonly MlpWeights[];
  readonly #kernels: KernelCache;
  #tokens: number | undefined;
  readonly #timing: TimeGpuOptions;

  /**
   * Prepare; nothing is made yet.
   *
   * @param gpu The device.
   * @param model Sizes.
   * @param layers Weights on the device, at least one layer; their numbers do not matter.
   */
  constructor(gpu: GpuDevice, model: EngineModel, layers: readonly MlpWeights[]) {
    const bytesOf = ({ gateUp, down }: MlpWeights) => matrixBytes(gateUp) + matrixBytes(down);
    this.#gpu = gpu;
    this.#model = model;
    this.#walked = layers.slice(0, Math.ceil(WALKED_BYTES / bytesOf(layers[0])));
    this.walkedBytes = this.#walked.reduce((sum, layer) => sum + bytesOf(layer), 0);
    this.#kernels = new KernelCache(gpu.device);
    // The wall's clock sees steps of 10 ms, the GPU's does not.
    const minMs = gpu.features.hasTimestamps ? 5 : 30;
    this.#timing = { repeats: 3, minMs, maxRuns: 256 };
  }

  /**
   * The walked layers' MLPs for one token.
   *
   * @param shape How the work is divided.
   * @returns Milliseconds.
   * @throws {Error} If the driver refuses a kernel, or the device has no room or is lost.
   */
  async matvecMs(shape: MatvecShape): Promise<number> {
    const { width: D, mlpDim: F } = this.#model.gemma;
    using scratch = new GpuBuffers(this.#gpu.device);
    const x = scratch.storage("x", 4 * paddedColumns(D));
    const norm = scratch.storage("norm", 4 * paddedColumns(D));
    const gated = scratch.storage("gated", 4 * paddedColumns(F));
    const residual = scratch.storage("residual", 4 * paddedColumns(D));
    const state = scratch.uniform("state", new Array(DECODE_STATE.length).fill(0));
    const plan: Dispatch[] = [];
    const multiply = async (
      matrix: GpuMatrix,
      isNormed: boolean,
      epilogue: MatvecOptions["epilogue"],
      bound: Readonly<Record<string, GPUBuffer>>,
    ) => {
      const { bits, columns } = matrix;
      const options = { label: "tuned product", bits, columns, isNormed, epilogue };
      const kernel = matvecKernel(options, shape);
      for (const { values, scales, place: shard, rows } of matrix.shards) {
        const groups = Math.ceil(rows / shape.rows);
        const all = { ...bound, state, values, scales, shard };
        plan.push(await this.#kernels.bind(kernel, all, () => [groups, 1]));
      }
    };
    for (const { gateUp, down } of this.#walked) {
      await multiply(gateUp, true, storeGated(F), { x, norm, gated });
      await multiply(down, false, storeResidual(D), { x: gated, residual });
    }
    return await this.#time(plan, 1, this.#timing);
  }

  /**
   * One layer's MLP for many tokens.
   *
   * @param format What they are rounded to.
   * @returns Milliseconds, and operations.
   * @throws {Error} As {@link matvecMs} does.
   */
  async matmul(format: MatmulFormat): Promise<{ ms: number; flops: number }> {
    const { width, mlpDim } = this.#model.gemma;
    const T = this.#tokens ??= await this.#chooseTokens();
    const ms = await this.#matmulMs(format, T, this.#timing);
    return { ms, flops: 2 * T * 3 * width * mlpDim };
  }

  async #chooseTokens(): Promise<number> {
    const capacity = capacityOf(this.#model);
    const few = Math.min(TOKENS.few, capacity);
    const once = { repeats: 1, minMs: 0, maxRuns: 1 };
    const ms = await this.#matmulMs("float32", few, once);
    return ms > FEW_MS ? few : Math.min(TOKENS.many, capacity);
  }

  async #matmulMs(format: MatmulFormat, T: number, timing: TimeGpuOptions): Promise<number> {
    const { width: D, mlpDim: F } = this.#model.gemma;
    using scratch = new GpuBuffers(this.#gpu.device);
    const x = scratch.storage("x", 4 * T * paddedColumns(D));
    const gated = scratch.storage("gated", 4 * T * paddedColumns(F));
    const residual = scratch.storage("residual", 4 * T * paddedColumns(D));
    const places = scratch.storage("places", 4 * (PLACES_HEADER_WORDS + 2 * T));
    this.#gpu.device.queue.writeBuffer(places, 0, Uint32Array.of(T, T));
    const choice = createMatmulChoice(scratch, format, T, Math.max(D, F));
    const [{ gateUp, down }] = this.#walked;
    const label = "tuned product";
    const tasks: MatmulTask[] = [
      { label, matrix: gateUp, epilogue: storeGated(F), bound: { places, x, gated } },
      { label, matrix: down, epilogue: storeResidual(D), bound: { places, x: gated, residual } },
    ];
    const plan: Dispatch[] = [];
    for (const task of tasks) plan.push(...await bindMatmul(this.#kernels, task, choice));
    return await this.#time(plan, T, timing);
  }

  async #time(
    plan: readonly Dispatch[],
    places: number,
    timing: TimeGpuOptions,
  ): Promise<number> {
    const { ms } = await timeGpu(this.#gpu, (encoder) => {
      const pass = encoder.beginComputePass();
      record(pass, plan, places);
      pass.end();
    }, timing);
    return ms;
  }
}
