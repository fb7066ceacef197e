/**
 * Arrays of any size that mean nothing, as an engine would load them from a checkpoint.
 *
 * @module
 */

import type { StoragePlan } from "../policy/parameters.ts";
import { matrixLayout } from "../quant/matrix_layout.ts";
import {
  type Bits,
  createQuantizedTensor,
  type QuantizedTensor,
  type QuantizedWeights,
} from "../quant/quantized_tensor.ts";
import { type RandomSource, uniform } from "../random.ts";
import type { HostTensor } from "../types.ts";

/** How the numbers of an array are spread. */
export interface Spread {
  /** Their mean; matrices in few bits have 0. */
  readonly mean: number;
  /** Their standard deviation. */
  readonly stddev: number;
}

/** Random numbers are drawn once and then repeated: billions of them would take minutes. */
const BLOCK = 1 << 20;

/** Standard deviation of integers that are uniform in −128…127, and in −8…7. */
const INTEGER_STDDEV: Readonly<Record<Bits, number>> = { 8: 73.9, 4: 4.61 };

const BITS: Readonly<Record<StoragePlan["precision"], Bits | undefined>> = {
  float32: undefined,
  int8: 8,
  int4: 4,
};

/**
 * Make arrays.
 *
 * @param shapes Their shapes by path, with openpi's names.
 * @param storage Which are in few bits.
 * @param spreadOf How the numbers of an array are spread.
 * @param random Where they come from.
 * @returns The arrays.
 */
export function randomArrays(
  shapes: Iterable<readonly [string, readonly number[]]>,
  storage: StoragePlan,
  spreadOf: (path: string, shape: readonly number[]) => Spread,
  random: RandomSource,
): QuantizedWeights {
  const bits = BITS[storage.precision];
  const bytes = Int8Array.from({ length: BLOCK }, () => Math.floor(256 * random()) - 128);
  const floats32 = Float32Array.from(
    { length: BLOCK },
    () => uniform(random, -Math.sqrt(3), Math.sqrt(3)),
  );
  const matrices = new Map<string, QuantizedTensor>();
  const floats = new Map<string, HostTensor>();
  for (const [name, shape] of shapes) {
    const { mean, stddev } = spreadOf(name, shape);
    const layout = bits && matrixLayout(name, shape, storage.quantized);
    if (bits && layout) {
      const tensor = createQuantizedTensor(bits, name, shape, layout);
      const { buffer, byteOffset, byteLength } = tensor.values;
      repeat(bytes, new Int8Array(buffer, byteOffset, byteLength));
      tensor.scales.fill(stddev / INTEGER_STDDEV[bits]);
      matrices.set(name, tensor);
      continue;
    }
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    if (stddev === 0) data.fill(mean);
    else repeat(floats32.subarray(0, data.length).map((x) => mean + stddev * x), data);
    floats.set(name, { name, shape, data });
  }
  return { matrices, floats };
}

/** Fill an array with a shorter one, again and again. */
function repeat<A extends Int8Array | Float32Array>(block: A, out: A): void {
  for (let at = 0; at < out.length; at += block.length) {
    out.set(block.subarray(0, out.length - at), at);
  }
}
