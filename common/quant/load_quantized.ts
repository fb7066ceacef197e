/**
 * Loads a checkpoint straight into 8-bit or 4-bit weights, block by block: what is in memory at once is the
 * result, one block of the file and at worst one matrix in float32.
 *
 * @module
 */

import { mappedBlocks, type MappedTensor, placeBlock } from "../checkpoint/names/mapped_tensor.ts";
import { elementCount } from "../checkpoint/safetensors_header.ts";
import type { TensorBlock, TensorSource } from "../checkpoint/tensor_source.ts";
import type { HostTensor } from "../types.ts";
import { type MatrixKind, type MatrixLayout, matrixLayout } from "./matrix_layout.ts";
import {
  type Bits,
  createQuantizedTensor,
  type QuantizedTensor,
  type QuantizedWeights,
  quantizeInto,
} from "./quantized_tensor.ts";

/** How far {@link loadQuantized} is. */
export interface LoadProgress {
  /** Numbers read. */
  readonly done: number;
  /** Numbers to read. */
  readonly total: number;
  /** The tensor that is being read. */
  readonly name: string;
}

/** What becomes of a checkpoint that is loaded. */
export interface QuantizedTarget {
  /** Bits of an integer. */
  readonly bits: Bits;
  /** Matrices that are quantised; all if absent. */
  readonly kinds?: readonly MatrixKind[];
}

/** Blocks hold whole matrices up to this many bytes: the full model's largest, 2048 × 16384 numbers. */
const MAX_BLOCK_BYTES = 1 << 27;
/** Blocks are at least so large, to keep the disk busy. */
const MIN_BLOCK_BYTES = 1 << 24;

/** Blocks to ask for: one matrix, so that it need not be put together. */
function blockBytes(layout: MatrixLayout | undefined): number {
  const matrix = layout === undefined ? 0 : 4 * layout.contraction * layout.inner;
  return Math.min(Math.max(matrix, MIN_BLOCK_BYTES), MAX_BLOCK_BYTES);
}

/** Quantises blocks; a matrix that comes in parts is put together in float32 and then let go. */
class MatrixIntake {
  readonly #tensor: QuantizedTensor;
  readonly #pending = new Map<number, { values: Float32Array; missing: number }>();

  constructor(tensor: QuantizedTensor) {
    this.#tensor = tensor;
  }

  add({ origin, shape, values }: TensorBlock): void {
    const { shape: full, layout: { outerAxes, contraction, inner } } = this.#tensor;
    const outer = shape.slice(0, outerAxes);
    const size = elementCount(shape.slice(outerAxes));
    const isWhole = size === contraction * inner;
    for (let k = 0; k < elementCount(outer); k++) {
      const matrix = this.#matrixOf(origin, outer, k);
      if (isWhole) {
        quantizeInto(values, k * size, matrix, this.#tensor);
        continue;
      }
      const pending = this.#pending.get(matrix) ??
        { values: new Float32Array(contraction * inner), missing: contraction * inner };
      this.#pending.set(matrix, pending);
      const part = {
        origin: origin.slice(outerAxes),
        shape: shape.slice(outerAxes),
        values: values.subarray(k * size, (k + 1) * size),
      };
      placeBlock(part, full.slice(outerAxes), pending.values);
      pending.missing -= size;
      if (pending.missing > 0) continue;
      this.#pending.delete(matrix);
      quantizeInto(pending.values, 0, matrix, this.#tensor);
    }
  }

  /** Which matrix the k-th of a block is. */
  #matrixOf(origin: readonly number[], outer: readonly number[], k: number): number {
    let matrix = 0;
    let stride = 1;
    let rest = k;
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      matrix += (origin[axis] + rest % outer[axis]) * stride;
      rest = Math.floor(rest / outer[axis]);
      stride *= this.#tensor.shape[axis];
    }
    return matrix;
  }
}

/**
 * Load a checkpoint into few bits. Check it first: nothing is checked here.
 *
 * @param source The open checkpoint.
 * @param mapped What to load and what it is made of, such as `mapped` of a plan.
 * @param target Into how many bits, and which matrices.
 * @param onProgress Called after each block.
 * @returns The weights.
 * @throws {CheckpointError} As {@link TensorSource.blocks} does.
 * @throws {RangeError} When a number is not finite.
 */
export async function loadQuantized(
  source: TensorSource,
  mapped: readonly MappedTensor[],
  { bits, kinds }: QuantizedTarget,
  onProgress: (progress: LoadProgress) => void = () => {},
): Promise<QuantizedWeights> {
  const total = mapped.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const matrices = new Map<string, QuantizedTensor>();
  const floats = new Map<string, HostTensor>();
  let done = 0;
  for (const one of mapped) {
    const { name, shape } = one;
    const layout = matrixLayout(name, shape, kinds);
    const tensor = layout && createQuantizedTensor(bits, name, shape, layout);
    const float = { name, shape, data: new Float32Array(tensor ? 0 : elementCount(shape)) };
    const intake = tensor && new MatrixIntake(tensor);
    for await (const block of mappedBlocks(source, one, blockBytes(layout))) {
      if (intake === undefined) placeBlock(block, shape, float.data);
      else intake.add(block);
      done += elementCount(block.shape);
      onProgress({ done, total, name });
    }
    if (tensor) matrices.set(name, tensor);
    else floats.set(name, float);
  }
  return { matrices, floats };
}
