/**
 * A checkpoint in memory for tests.
 *
 * @module
 */

import type { HostTensor } from "../../types.ts";
import { CheckpointError } from "../errors.ts";
import { elementCount } from "../safetensors_header.ts";
import type { SourceFormat, StoredDtype, TensorBlock, TensorSource } from "../tensor_source.ts";

/** Options of {@link InMemorySource}. */
export interface InMemoryOptions {
  /** Format that it claims to have. */
  readonly format?: SourceFormat;
  /** Format that its numbers claim to have. */
  readonly dtype?: StoredDtype;
  /** Most indices of a block along each axis; 3 by default, so that blocks are small and odd. */
  readonly blockSide?: number;
  /** Whether the last blocks come first. */
  readonly isReversed?: boolean;
  /** What it claims to hold beside its tensors. */
  readonly skipped?: TensorSource["skipped"];
}

/** Tensors in memory, handed out in small blocks that split every axis. */
export class InMemorySource implements TensorSource {
  /** See {@link TensorSource}. */
  readonly format: SourceFormat;
  /** See {@link TensorSource}. */
  readonly path: string = "memory";
  /** See {@link TensorSource}. */
  readonly tensors: TensorSource["tensors"];
  /** See {@link TensorSource}. */
  readonly skipped: TensorSource["skipped"];
  /** Names in the order in which they were read. */
  readonly reads: string[] = [];
  readonly #values: ReadonlyMap<string, HostTensor>;
  readonly #blockSide: number;
  readonly #isReversed: boolean;

  /**
   * Take tensors as they are.
   * @param tensors What it holds.
   * @param options How it claims to be stored.
   */
  constructor(tensors: readonly HostTensor[], options: InMemoryOptions = {}) {
    const { format = "safetensors", dtype = "F32", blockSide = 3, isReversed = false } = options;
    this.skipped = options.skipped ?? [];
    this.format = format;
    this.tensors = tensors.map(({ name, shape }) => ({ name, shape, dtype, file: "memory" }))
      .sort((a, b) => a.name < b.name ? -1 : 1);
    this.#values = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    this.#blockSide = blockSide;
    this.#isReversed = isReversed;
  }

  /** See {@link TensorSource}. The values of a block are overwritten with NaN after its turn. */
  async *blocks(name: string): AsyncGenerator<TensorBlock> {
    const { shape, data } = await this.read(name);
    const origins = shape.reduce<number[][]>(
      (all, size) =>
        all.flatMap((origin) =>
          Array.from(
            { length: Math.ceil(size / this.#blockSide) },
            (_, i) => [...origin, i * this.#blockSide],
          )
        ),
      [[]],
    );
    if (this.#isReversed) origins.reverse();
    const strides = shape.map((_, axis) => elementCount(shape.slice(axis + 1)));
    for (const origin of origins) {
      const extent = shape.map((size, axis) => Math.min(this.#blockSide, size - origin[axis]));
      const inner = extent.map((_, axis) => elementCount(extent.slice(axis + 1)));
      const values = Float32Array.from({ length: elementCount(extent) }, (_, i) =>
        data[
          strides.reduce(
            (sum, stride, axis) =>
              sum + stride * (origin[axis] + Math.floor(i / inner[axis]) % extent[axis]),
            0,
          )
        ]);
      yield { origin, shape: extent, values };
      values.fill(NaN);
    }
  }

  /** See {@link TensorSource}. */
  read(name: string): Promise<HostTensor> {
    const tensor = this.#values.get(name);
    if (tensor === undefined) {
      return Promise.reject(new CheckpointError(`There is no tensor ${name} in memory.`));
    }
    this.reads.push(name);
    return Promise.resolve(tensor);
  }

  /** Nothing is held. */
  [Symbol.dispose](): void {}
}
