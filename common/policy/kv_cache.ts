/**
 * Keys and values of all layers, in arrays whose size never changes: the length of a decode loop
 * changes no shape, so no backend allocates anything new for it.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { writeCache } from "../kernels/attention_ops.ts";
import type { Tensor3D } from "./tensors.ts";

/** A fixed-size cache `[B, capacity, K]` a layer. Owner of its tensors. */
export class KvCache {
  /** Positions that fit. */
  readonly capacity: number;
  /** Positions in use. */
  length: number;
  #keys: Tensor3D[];
  #values: Tensor3D[];

  /**
   * Start from the keys and values of a prefix; the rest is zeros.
   * @param keys `[B, T, K]` a layer.
   * @param values `[B, T, K]` a layer.
   * @param capacity Positions that fit, at least T.
   */
  constructor(keys: readonly Tensor3D[], values: readonly Tensor3D[], capacity: number) {
    const length = keys[0].shape[1];
    if (capacity < length) {
      throw new RangeError(`A cache of ${capacity} positions cannot hold a prefix of ${length}`);
    }
    this.capacity = capacity;
    this.length = length;
    const grow = (x: Tensor3D) =>
      tf.keep(tf.pad3d(x, [[0, 0], [0, capacity - length], [0, 0]])) as Tensor3D;
    this.#keys = keys.map(grow);
    this.#values = values.map(grow);
  }

  /**
   * Write one more position of a layer **in place** and return the whole: the tensors are the cache's
   * own, show what is appended later, and are not to be disposed of.
   * Call once a layer, then {@link KvCache.advance}.
   * @param key `[B, 1, K]`.
   * @param value `[B, 1, K]`.
   */
  append(layer: number, key: Tensor3D, value: Tensor3D): [Tensor3D, Tensor3D] {
    if (this.length >= this.capacity) {
      throw new RangeError(`The key/value cache is full: ${this.capacity} positions`);
    }
    writeCache(this.#keys[layer], key, this.length);
    writeCache(this.#values[layer], value, this.length);
    return [this.#keys[layer], this.#values[layer]];
  }

  /**
   * Keep some rows of the batch alone.
   * @param rows Their places in the batch, in the order that they are to have.
   */
  keepRows(rows: readonly number[]): void {
    const ids = tf.tensor1d([...rows], "int32");
    const kept = (x: Tensor3D) => {
      const part = tf.keep(tf.gather(x, ids)) as Tensor3D;
      x.dispose();
      return part;
    };
    this.#keys = this.#keys.map(kept);
    this.#values = this.#values.map(kept);
    ids.dispose();
  }

  /** All layers of the current position are written. */
  advance(): void {
    this.length++;
  }

  /** Free the tensors. */
  [Symbol.dispose](): void {
    tf.dispose([...this.#keys, ...this.#values]);
    this.#keys = [];
    this.#values = [];
  }
}
