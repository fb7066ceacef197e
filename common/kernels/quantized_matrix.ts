/**
 * A quantised weight on the device that computes.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Variable } from "../policy/tensors.ts";
import { type PackedMatrix, rowWords } from "../quant/packed_matrix.ts";
import type { Bits } from "../quant/quantized_tensor.ts";

/** A matrix in few bits, as tensors. Owner of them. */
export class QuantizedMatrix implements Disposable {
  /** Bits of an integer. */
  readonly bits: Bits;
  /** N: outputs of a product. */
  readonly rows: number;
  /** K: length of the axis that a product sums over. */
  readonly columns: number;
  /** `[N, bits · ⌈K / 32⌉]` int32: integers, packed as in {@link PackedMatrix}. */
  readonly words: Variable;
  /** `[N, ⌈K / 64⌉]` int32: scales, two half-precision numbers each. */
  readonly scales: Variable;

  /**
   * Put a packed matrix on the current backend.
   * @throws {RangeError} When its arrays do not have the sizes that rows and columns take.
   */
  constructor(packed: PackedMatrix) {
    checkSizes(packed);
    const { bits, rows, columns, words, scales } = packed;
    const width = rowWords(bits, columns);
    this.bits = bits;
    this.rows = rows;
    this.columns = columns;
    this.words = frozen(words, [rows, width.values]);
    this.scales = frozen(scales, [rows, width.scales]);
  }

  /** Bytes that it takes on the device. */
  get bytes(): number {
    return 4 * (this.words.size + this.scales.size);
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
    tf.tidy(() => {
      this.words.assign(tf.tensor(packed.words, this.words.shape, "int32"));
      this.scales.assign(tf.tensor(packed.scales, this.scales.shape, "int32"));
    });
  }

  /** Read it back. */
  async toHost(): Promise<PackedMatrix> {
    const { bits, rows, columns } = this;
    const words = await this.words.data<"int32">();
    return { bits, rows, columns, words, scales: await this.scales.data<"int32">() };
  }

  /** Free the tensors. */
  [Symbol.dispose](): void {
    this.words.dispose();
    this.scales.dispose();
  }
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
