/**
 * A quantised weight on the device that computes.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { planBindings } from "../device/plan_bindings.ts";
import type { Variable } from "../policy/tensors.ts";
import { type PackedMatrix, rowWords } from "../quant/packed_matrix.ts";
import type { Bits } from "../quant/quantized_tensor.ts";

/** Some whole rows of a matrix. */
export interface QuantizedPart {
  /** The first of them. */
  readonly firstRow: number;
  /** How many. */
  readonly rows: number;
  /** `[rows, bits · ⌈K / 32⌉]` int32: integers, packed as in {@link PackedMatrix}. */
  readonly words: Variable;
  /** `[rows, ⌈K / 64⌉]` int32: scales, two half-precision numbers each. */
  readonly scales: Variable;
}

/**
 * A matrix in few bits, as tensors. Owner of them. What one binding of a GPU cannot hold is split by
 * rows; elsewhere, and nearly always, it is one part.
 */
export class QuantizedMatrix implements Disposable {
  /** Bits of an integer. */
  readonly bits: Bits;
  /** N: outputs of a product. */
  readonly rows: number;
  /** K: length of the axis that a product sums over. */
  readonly columns: number;
  /** Its rows in order, at least one part. */
  readonly parts: readonly QuantizedPart[];

  /**
   * Put a packed matrix on the current backend.
   *
   * @param packed The matrix.
   * @param maxPartBytes Most bytes of a part's words; what the backend can bind if absent.
   * @throws {RangeError} When its arrays do not have the sizes that rows and columns take, or not one
   *   row fits a part.
   */
  constructor(packed: PackedMatrix, maxPartBytes: number = largestBinding()) {
    checkSizes(packed);
    const { bits, rows, columns } = packed;
    this.bits = bits;
    this.rows = rows;
    this.columns = columns;
    const rowBytes = 4 * rowWords(bits, columns).values;
    const cuts = maxPartBytes === Infinity
      ? [{ firstRow: 0, rows }]
      : planBindings(rows * rowBytes, maxPartBytes, 1, rowBytes);
    this.parts = cuts.map(({ firstRow, rows }) => {
      const { words, scales, width } = slice(packed, firstRow, rows);
      return {
        firstRow,
        rows,
        words: frozen(words, [rows, width.values]),
        scales: frozen(scales, [rows, width.scales]),
      };
    });
  }

  /** Bytes that it takes on the device. */
  get bytes(): number {
    return this.parts.reduce((sum, { words, scales }) => sum + 4 * (words.size + scales.size), 0);
  }

  /**
   * Write other numbers into it. Nothing is rebuilt.
   * @throws {RangeError} When the other matrix has another size or other bits.
   */
  assign(packed: PackedMatrix): void {
    const { bits, rows, columns } = packed;
    if (bits !== this.bits || rows !== this.rows || columns !== this.columns) {
      throw new RangeError(
        `Cannot assign ${rows}×${columns} weights in ${bits} bits to ${this.rows}×${this.columns} ` +
          `in ${this.bits} bits: they must be alike`,
      );
    }
    checkSizes(packed);
    for (const part of this.parts) {
      const { words, scales } = slice(packed, part.firstRow, part.rows);
      tf.tidy(() => {
        part.words.assign(tf.tensor(words, part.words.shape, "int32"));
        part.scales.assign(tf.tensor(scales, part.scales.shape, "int32"));
      });
    }
  }

  /** Read it back. */
  async toHost(): Promise<PackedMatrix> {
    const { bits, rows, columns } = this;
    const width = rowWords(bits, columns);
    const words = new Int32Array(rows * width.values);
    const scales = new Int32Array(rows * width.scales);
    for (const part of this.parts) {
      words.set(await part.words.data<"int32">(), part.firstRow * width.values);
      scales.set(await part.scales.data<"int32">(), part.firstRow * width.scales);
    }
    return { bits, rows, columns, words, scales };
  }

  /** Free the tensors. */
  [Symbol.dispose](): void {
    for (const { words, scales } of this.parts) tf.dispose([words, scales]);
  }
}

/** Bytes that one binding of the backend in force takes; any number if it has no bindings. */
function largestBinding(): number {
  const { device } = tf.backend() as unknown as { readonly device?: GPUDevice };
  return device?.limits?.maxStorageBufferBindingSize ?? Infinity;
}

/** Some rows of a packed matrix; views of its arrays. */
function slice({ bits, columns, words, scales }: PackedMatrix, first: number, rows: number) {
  const width = rowWords(bits, columns);
  const end = first + rows;
  return {
    width,
    words: words.subarray(first * width.values, end * width.values),
    scales: scales.subarray(first * width.scales, end * width.scales),
  };
}

function frozen(values: Int32Array, shape: [number, number]): Variable {
  const initial = tf.tensor2d(values, shape, "int32");
  const variable = tf.variable(initial, false);
  initial.dispose(); // The variable holds the data by itself.
  return variable;
}

function checkSizes({ bits, rows, columns, words, scales }: PackedMatrix): void {
  const width = rowWords(bits, columns);
  if (words.length === rows * width.values && scales.length === rows * width.scales) return;
  throw new RangeError(
    `Cannot use ${rows}×${columns} weights in ${bits} bits: they take ${
      rows * width.values
    } words ` +
      `and ${rows * width.scales} of scales, but have ${words.length} and ${scales.length}`,
  );
}
