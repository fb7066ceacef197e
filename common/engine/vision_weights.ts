/**
 * An image encoder's weights on the GPU, and the way from a checkpoint's arrays to them.
 *
 * Letters: L layers, W width, F MLP width, N heads, K head width, P patch side, T tokens of a picture,
 * D width of the language model.
 *
 * @module
 */

import { type MatrixLayout, matrixLayout } from "../quant/matrix_layout.ts";
import { packMatrices } from "../quant/packed_matrix.ts";
import {
  createQuantizedTensor,
  type QuantizedTensor,
  quantizeInto,
} from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import type { GpuBuffers } from "./gpu_buffers.ts";
import { createGpuMatrix, type GpuMatrix, matrixBytes, writeRows } from "./gpu_matrix.ts";
import { floatRows, type MatrixRows, type WeightBits } from "./packed_rows.ts";
import type { VisionModel } from "./vision_model.ts";
import { visionShapes } from "./vision_shapes.ts";
import { patchColumns } from "./wgsl/patches.ts";

const IMG = "PaliGemma/img";
const BLOCK = `${IMG}/Transformer/encoderblock`;
const ATTENTION = `${BLOCK}/MultiHeadDotProductAttention_0`;

/** A product: rows `[R, C]` and a bias `[R]`. */
export interface LinearWeights {
  /** One row an output. */
  readonly matrix: GpuMatrix;
  /** Float32. */
  readonly bias: GPUBuffer;
}

/** LayerNorm's numbers, `[W]` each. */
export interface NormWeights {
  /** Factors. */
  readonly scale: GPUBuffer;
  /** What is added. */
  readonly bias: GPUBuffer;
}

/** A layer's weights. */
export interface VisionLayer {
  /** In front of attention. */
  readonly attentionNorm: NormWeights;
  /** `[3 · W, W]`: queries, keys, values, a head after the other. */
  readonly qkv: LinearWeights;
  /** `[W, W]`. */
  readonly out: LinearWeights;
  /** In front of the MLP. */
  readonly mlpNorm: NormWeights;
  /** `[F, W]`. */
  readonly up: LinearWeights;
  /** `[W, F]`. */
  readonly down: LinearWeights;
}

/** Where an array goes: an equal part of it to each target. */
type Place =
  & { readonly shape: readonly number[] }
  & (
    | { readonly layout?: undefined; readonly targets: readonly GPUBuffer[]; readonly at: number }
    | {
      readonly layout: MatrixLayout;
      readonly targets: readonly GpuMatrix[];
      readonly at: number;
    }
  );

/** All weights of an image encoder. Their buffers belong to the {@link GpuBuffers} they came from. */
export class VisionWeights {
  /** `[W, P · P · 3]` in float32. */
  readonly patch: LinearWeights;
  /** `[T, W]`: position embedding. */
  readonly positions: GPUBuffer;
  /** Layers in order. */
  readonly layers: readonly VisionLayer[];
  /** Behind the last layer. */
  readonly encoderNorm: NormWeights;
  /** `[D, W]`. */
  readonly head: LinearWeights;
  readonly #device: GPUDevice;
  readonly #places: ReadonlyMap<string, Place>;

  /**
   * Make room; nothing is written.
   *
   * @param model Sizes.
   * @param bitsOf Bits of a matrix's weights, by path. Those of queries, keys and values are one.
   * @param buffers Owner of the buffers.
   * @param maxBindingBytes Largest matrix in one piece; the device's limit by default.
   * @throws {RangeError} If queries, keys and values are not in the same number of bits.
   */
  constructor(
    model: VisionModel,
    bitsOf: (path: string) => WeightBits,
    buffers: GpuBuffers,
    maxBindingBytes?: number,
  ) {
    const { siglip, width: D } = model;
    const { width: W, depth: L, mlpDim: F } = siglip;
    const vector = (label: string, count: number) => buffers.storage(`vision ${label}`, 4 * count);
    const linear = (label: string, bits: WeightBits, rows: number, columns: number) => ({
      matrix: createGpuMatrix(buffers, `vision ${label}`, { bits, rows, columns }, maxBindingBytes),
      bias: vector(`${label} bias`, rows),
    });
    const norm = (label: string) => ({
      scale: vector(`${label} scale`, W),
      bias: vector(`${label} bias`, W),
    });
    const kernelBits = (path: string) => bitsOf(`${path}/kernel`);
    const [bits, ...others] = ["query", "key", "value"].map((n) => kernelBits(`${ATTENTION}/${n}`));
    if (others.some((other) => other !== bits)) {
      throw new RangeError(
        `Cannot make an image encoder: queries, keys and values are in ${bits}, ` +
          `${others.join(" and ")} bits, they must be in the same`,
      );
    }
    this.#device = buffers.device;
    this.patch = linear("stem", 32, W, patchColumns(siglip));
    const shapes = visionShapes(model);
    const position = `${IMG}/pos_embedding`;
    this.positions = vector("positions", shapes.get(position)![1] * W);
    this.layers = Array.from({ length: L }, (_, l) => ({
      attentionNorm: norm(`layer ${l} attention norm`),
      qkv: linear(`layer ${l} qkv`, bits, 3 * W, W),
      out: linear(`layer ${l} out`, kernelBits(`${ATTENTION}/out`), W, W),
      mlpNorm: norm(`layer ${l} MLP norm`),
      up: linear(`layer ${l} up`, kernelBits(`${BLOCK}/MlpBlock_0/Dense_0`), F, W),
      down: linear(`layer ${l} down`, kernelBits(`${BLOCK}/MlpBlock_0/Dense_1`), W, F),
    }));
    this.encoderNorm = norm("encoder norm");
    this.head = linear("head", kernelBits(`${IMG}/head`), D, W);

    const places = new Map<string, Place>();
    const place = (path: string, targets: readonly GPUBuffer[], at = 0) =>
      places.set(path, { shape: shapes.get(path)!, targets, at });
    const placeLinear = (path: string, products: readonly LinearWeights[], at = 0) => {
      const shape = shapes.get(`${path}/kernel`)!;
      const layout = matrixLayout(`${path}/kernel`, shape) ?? patchLayout(shape);
      const targets = products.map(({ matrix }) => matrix);
      places.set(`${path}/kernel`, { shape, layout, targets, at });
      place(`${path}/bias`, products.map(({ bias }) => bias), at);
    };
    const placeNorm = (path: string, norms: readonly NormWeights[]) => {
      place(`${path}/scale`, norms.map(({ scale }) => scale));
      place(`${path}/bias`, norms.map(({ bias }) => bias));
    };
    const of = <T>(part: (layer: VisionLayer) => T) => this.layers.map(part);
    placeLinear(`${IMG}/embedding`, [this.patch]);
    place(position, [this.positions]);
    placeNorm(`${BLOCK}/LayerNorm_0`, of((layer) => layer.attentionNorm));
    ["query", "key", "value"].forEach((name, i) => {
      placeLinear(`${ATTENTION}/${name}`, of((layer) => layer.qkv), i * W);
    });
    placeLinear(`${ATTENTION}/out`, of((layer) => layer.out));
    placeNorm(`${BLOCK}/LayerNorm_1`, of((layer) => layer.mlpNorm));
    placeLinear(`${BLOCK}/MlpBlock_0/Dense_0`, of((layer) => layer.up));
    placeLinear(`${BLOCK}/MlpBlock_0/Dense_1`, of((layer) => layer.down));
    placeNorm(`${IMG}/Transformer/encoder_norm`, [this.encoderNorm]);
    placeLinear(`${IMG}/head`, [this.head]);
    this.#places = places;
  }

  /** Paths of all arrays, with openpi's names. */
  get names(): string[] {
    return [...this.#places.keys()];
  }

  /** Bytes of all matrices: what one pass over any number of pictures reads. */
  get bytes(): number {
    const products = this.layers.flatMap(({ qkv, out, up, down }) => [qkv, out, up, down]);
    return [this.patch, ...products, this.head].reduce(
      (sum, { matrix }) => sum + matrixBytes(matrix),
      0,
    );
  }

  /**
   * Check that an array can be written.
   * @throws {RangeError} If it is none of {@link names}, or has another shape, number of values or bits.
   */
  check(tensor: HostTensor | QuantizedTensor): void {
    const { name, shape } = tensor;
    const place = this.#places.get(name);
    if (!place) throw new RangeError(`The image encoder has no parameter ${name}`);
    const count = place.shape.reduce((a, b) => a * b, 1);
    const isFloat = "data" in tensor;
    if (shape.join() !== place.shape.join() || isFloat && tensor.data.length !== count) {
      throw new RangeError(
        `Cannot write ${name} of shape [${shape}]${
          isFloat ? ` with ${tensor.data.length} values` : ""
        } into the image encoder: it wants [${place.shape}]`,
      );
    }
    const bits = place.layout ? place.targets[0].bits : 32;
    if (isFloat || tensor.bits === bits) return;
    throw new RangeError(
      `Cannot write ${name} in ${tensor.bits} bits into the image encoder: it wants ` +
        (bits === 32 ? "float32" : `${bits} bits or float32`),
    );
  }

  /**
   * Write an array, whole. A float32 matrix is quantised on the way if it is kept in few bits.
   *
   * @param tensor One of {@link names}.
   * @throws {RangeError} As {@link check} does; nothing has been written then.
   */
  write(tensor: HostTensor | QuantizedTensor): void {
    this.check(tensor);
    const place = this.#places.get(tensor.name)!;
    if (place.layout) {
      for (const [i, matrix] of place.targets.entries()) {
        writeRows(this.#device, matrix, place.at, rowsOf(tensor, place.layout, i, matrix.bits));
      }
      return;
    }
    const { data } = tensor as HostTensor;
    const size = data.length / place.targets.length;
    for (const [i, buffer] of place.targets.entries()) {
      const part = data.slice(i * size, (i + 1) * size);
      this.#device.queue.writeBuffer(buffer, 4 * place.at, part);
    }
  }
}

/** The patch embedding `[P, P, 3, W]` as a matrix. It stays in float32, so quantisation does not list it. */
function patchLayout(shape: readonly number[]): MatrixLayout {
  const [height, width, colours, inner] = shape;
  const contraction = height * width * colours;
  return { outer: 1, contraction, inner, outerAxes: 0, contractionAxes: 3 };
}

/** One matrix of an array as rows; only that one is in memory twice. */
function rowsOf(
  tensor: HostTensor | QuantizedTensor,
  layout: MatrixLayout,
  index: number,
  bits: WeightBits,
): MatrixRows {
  if (!("data" in tensor)) return packMatrices(tensor, index, 1);
  const { name, shape, data } = tensor;
  if (bits === 32) return floatRows(data, layout, index, 1);
  const quantized = createQuantizedTensor(bits, name, shape, { ...layout, outer: 1 });
  quantizeInto(data, index * layout.contraction * layout.inner, 0, quantized);
  return packMatrices(quantized, 0, 1);
}
