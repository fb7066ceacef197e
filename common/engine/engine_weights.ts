/**
 * An engine's weights on the GPU, and the way from a checkpoint's arrays to them.
 *
 * Rows are ordered for the epilogues: queries and keys with the two elements that rotate together side
 * by side, gate beside up. Letters: L layers, D width, F MLP width, N heads, K head width, V vocabulary.
 *
 * @module
 */

import { matrixLayout } from "../quant/matrix_layout.ts";
import { packMatrices } from "../quant/packed_matrix.ts";
import {
  createQuantizedTensor,
  type QuantizedTensor,
  quantizeInto,
} from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import type { EngineModel } from "./engine_model.ts";
import type { GpuBuffers } from "./gpu_buffers.ts";
import { createGpuMatrix, type GpuMatrix, matrixBytes, writeRows } from "./gpu_matrix.ts";
import { ENGINE_MATRICES, type EngineMatrixName, type MatrixPlan } from "./matrix_plan.ts";
import {
  floatRows,
  type MatrixRows,
  paddedColumns,
  reorderRows,
  toFloats,
  type WeightBits,
} from "./packed_rows.ts";

const LAYERS = "PaliGemma/llm/layers";
const EMBEDDING = "PaliGemma/llm/embedder/input_embedding";

/** Rows of the embedding that are packed at a time: 32 MiB of the real model. */
const EMBEDDING_ROWS = 1 << 14;

/**
 * Shapes of an engine's arrays in a checkpoint.
 *
 * @param model Sizes.
 * @returns Shapes by path, with openpi's names.
 */
export function weightShapes({ gemma }: EngineModel): Map<string, readonly number[]> {
  const { width: D, depth: L, mlpDim: F, heads: N, headDim: K, vocab: V } = gemma;
  return new Map([
    [`${LAYERS}/attn/q_einsum/w`, [L, N, D, K]],
    [`${LAYERS}/attn/kv_einsum/w`, [L, 2, 1, D, K]],
    [`${LAYERS}/attn/attn_vec_einsum/w`, [L, N, K, D]],
    [`${LAYERS}/mlp/gating_einsum`, [L, 2, D, F]],
    [`${LAYERS}/mlp/linear`, [L, F, D]],
    [`${LAYERS}/pre_attention_norm/scale`, [L, D]],
    [`${LAYERS}/pre_ffw_norm/scale`, [L, D]],
    ["PaliGemma/llm/final_norm/scale", [D]],
    [EMBEDDING, [V, D]],
  ]);
}

/** A layer's weights. */
export interface LayerWeights {
  /** `[(N + 2) · K, D]`. */
  readonly qkv: GpuMatrix;
  /** `[D, N · K]`. */
  readonly out: GpuMatrix;
  /** `[2 · F, D]`. */
  readonly gateUp: GpuMatrix;
  /** `[D, F]`. */
  readonly down: GpuMatrix;
  /** `[D padded]`: RMSNorm's scales before attention. */
  readonly attentionNorm: GPUBuffer;
  /** `[D padded]`: RMSNorm's scales before the MLP. */
  readonly mlpNorm: GPUBuffer;
}

/** Where pairs of a head that rotate together come to lie: j and j + K/2 at 2j and 2j + 1. */
function rotatedRow(row: number, headDim: number): number {
  const half = headDim / 2;
  const k = row % headDim;
  return row - k + (k < half ? 2 * k : 2 * (k - half) + 1);
}

/** All weights that decoding reads. Their buffers belong to the {@link GpuBuffers} they came from. */
export class EngineWeights {
  /** Layers in order. */
  readonly layers: readonly LayerWeights[];
  /** `[V, D]`, from which text is embedded. */
  readonly embedding: GpuMatrix;
  /** `[FAST vocabulary, D]`, in the order of FAST ids: the output head, and how drawn tokens are fed. */
  readonly head: GpuMatrix;
  /** `[D padded]`: RMSNorm's scales behind the last layer. */
  readonly finalNorm: GPUBuffer;
  readonly #model: EngineModel;
  readonly #plan: MatrixPlan;
  readonly #device: GPUDevice;
  readonly #shapes: ReadonlyMap<string, readonly number[]>;

  /**
   * Make room; nothing is written.
   *
   * @param model Sizes.
   * @param plan Bits of each matrix.
   * @param buffers Owner of the buffers.
   * @param maxBindingBytes Largest matrix in one piece; the device's limit by default.
   */
  constructor(model: EngineModel, plan: MatrixPlan, buffers: GpuBuffers, maxBindingBytes?: number) {
    const { width: D, depth: L, mlpDim: F, heads: N, headDim: K, vocab: V } = model.gemma;
    const matrix = (label: string, bits: WeightBits, rows: number, columns: number) =>
      createGpuMatrix(buffers, label, { bits, rows, columns }, maxBindingBytes);
    const norm = (label: string) => buffers.storage(label, 4 * paddedColumns(D));
    this.#model = model;
    this.#plan = plan;
    this.#device = buffers.device;
    this.layers = Array.from({ length: L }, (_, l) => ({
      qkv: matrix(`layer ${l} qkv`, plan.qkv, (N + 2) * K, D),
      out: matrix(`layer ${l} out`, plan.out, D, N * K),
      gateUp: matrix(`layer ${l} gate and up`, plan.gateUp, 2 * F, D),
      down: matrix(`layer ${l} down`, plan.down, D, F),
      attentionNorm: norm(`layer ${l} attention norm`),
      mlpNorm: norm(`layer ${l} MLP norm`),
    }));
    this.embedding = matrix("embedding", plan.embedding, V, D);
    // Drawn tokens are fed from one piece; a few thousand rows always fit the device's own limit.
    this.head = createGpuMatrix(buffers, "head", {
      bits: plan.embedding,
      rows: model.grammar.vocabSize,
      columns: D,
    });
    this.finalNorm = norm("final norm");
    this.#shapes = weightShapes(model);
  }

  /** Paths of all arrays, with openpi's names. */
  get names(): string[] {
    return [...this.#shapes.keys()];
  }

  /** Weight bytes that a decode step reads: all layers and the head. */
  get bytesPerToken(): number {
    const layers = this.layers.flatMap(({ qkv, out, gateUp, down }) => [qkv, out, gateUp, down]);
    return [...layers, this.head].reduce((sum, matrix) => sum + matrixBytes(matrix), 0);
  }

  /**
   * Check that an array can be written.
   * @throws {RangeError} If it is none of {@link names}, or has another shape or number of values.
   */
  check(tensor: HostTensor | QuantizedTensor): void {
    const { name, shape } = tensor;
    const wanted = this.#shapes.get(name);
    if (!wanted) throw new RangeError(`The decode engine has no parameter ${name}`);
    const isMatrix = matrixLayout(name, wanted) !== undefined;
    const isFloat = "data" in tensor;
    const count = wanted.reduce((a, b) => a * b, 1);
    if (shape.join() !== wanted.join() || isFloat && tensor.data.length !== count) {
      throw new RangeError(
        `Cannot write ${name} of shape [${shape}] into the decode engine: it wants [${wanted}]`,
      );
    }
    const bits = isMatrix ? this.#bitsOf(name) : 32;
    // Few bits go into floats as they are, but not into other bits.
    if (!isFloat && (!isMatrix || bits !== 32 && tensor.bits !== bits)) {
      throw new RangeError(
        `Cannot write ${name} in ${tensor.bits} bits into the decode engine: it wants ` +
          (isMatrix ? `${bits} bits or float32` : "float32"),
      );
    }
  }

  /**
   * Write an array, whole. It is quantised on the way, or dequantised, where its matrix is.
   *
   * @param tensor One of {@link names}.
   * @throws {RangeError} As {@link check} does; nothing has been written then.
   */
  write(tensor: HostTensor | QuantizedTensor): void {
    this.check(tensor);
    const { name } = tensor;
    if ("data" in tensor && matrixLayout(name, tensor.shape) === undefined) {
      this.#writeNorms(name, tensor.data);
    } else if (name === EMBEDDING) {
      this.#writeEmbedding(tensor);
    } else {
      for (let layer = 0; layer < this.layers.length; layer++) this.#writeLayer(tensor, layer);
    }
  }

  #bitsOf(name: string): WeightBits {
    const matrices = Object.keys(ENGINE_MATRICES) as EngineMatrixName[];
    const holds = (matrix: EngineMatrixName) =>
      (ENGINE_MATRICES[matrix] as readonly string[]).includes(name);
    return this.#plan[matrices.find(holds)!];
  }

  #writeNorms(name: string, data: Float32Array): void {
    const D = this.#model.gemma.width;
    const targets = name.endsWith("final_norm/scale")
      ? [this.finalNorm]
      : this.layers.map((l) => name.includes("attention") ? l.attentionNorm : l.mlpNorm);
    targets.forEach((buffer, i) => {
      this.#device.queue.writeBuffer(buffer, 0, data.slice(i * D, (i + 1) * D));
    });
  }

  /** One layer at a time, so that little is in memory twice. */
  #writeLayer(tensor: HostTensor | QuantizedTensor, layer: number): void {
    const { heads: N, headDim: K, mlpDim: F } = this.#model.gemma;
    const { qkv, out, gateUp, down } = this.layers[layer];
    const write = (
      target: GpuMatrix,
      firstRow: number,
      matrices: number,
      rowOf?: (row: number) => number,
    ) => {
      const packed = packSome(tensor, layer * matrices, matrices, target.bits);
      writeRows(this.#device, target, firstRow, rowOf ? reorderRows(packed, rowOf) : packed);
    };
    switch (tensor.name.slice(LAYERS.length + 1)) {
      case "attn/q_einsum/w":
        return write(qkv, 0, N, (row) => rotatedRow(row, K));
      case "attn/kv_einsum/w":
        return write(qkv, N * K, 2, (row) => row < K ? rotatedRow(row, K) : row);
      case "mlp/gating_einsum":
        return write(gateUp, 0, 2, (row) => row < F ? 2 * row : 2 * (row - F) + 1);
      case "attn/attn_vec_einsum/w":
        return write(out, 0, 1);
      default:
        return write(down, 0, 1);
    }
  }

  #writeEmbedding(tensor: HostTensor | QuantizedTensor): void {
    const { gemma: { vocab }, fastSkipTokens, grammar: { vocabSize } } = this.#model;
    for (let firstRow = 0; firstRow < vocab; firstRow += EMBEDDING_ROWS) {
      const rows = Math.min(EMBEDDING_ROWS, vocab - firstRow);
      writeRows(
        this.#device,
        this.embedding,
        firstRow,
        packSome(tensor, firstRow, rows, this.embedding.bits),
      );
    }
    // FAST id f is language id V − 1 − skip − f: one block in reversed order.
    const block = packSome(tensor, vocab - fastSkipTokens - vocabSize, vocabSize, this.head.bits);
    writeRows(this.#device, this.head, 0, reorderRows(block, (row) => vocabSize - 1 - row));
  }
}

/** Some matrices of an array in so many bits, one below the other. */
function packSome(
  tensor: HostTensor | QuantizedTensor,
  first: number,
  count: number,
  bits: WeightBits,
): MatrixRows {
  if (!("data" in tensor)) {
    const packed = packMatrices(tensor, first, count);
    return bits === 32 ? unpacked(packed) : packed;
  }
  const { name, shape, data } = tensor;
  const layout = matrixLayout(name, shape)!;
  if (bits === 32) return floatRows(data, layout, first, count);
  const size = layout.contraction * layout.inner;
  const quantized = createQuantizedTensor(bits, name, shape, { ...layout, outer: count });
  for (let m = 0; m < count; m++) quantizeInto(data, (first + m) * size, m, quantized);
  return packMatrices(quantized, 0, count);
}

/** A matrix in few bits as plain floats. */
function unpacked(matrix: MatrixRows): MatrixRows {
  const { rows, columns } = matrix;
  const layout = {
    outer: rows,
    contraction: columns,
    inner: 1,
    outerAxes: 1,
    contractionAxes: 1,
  };
  return floatRows(toFloats(matrix), layout, 0, rows);
}
