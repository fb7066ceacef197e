/**
 * The inner loops over quantised weights in WebAssembly with 128-bit vectors, working in the memory of
 * tfjs's backend: dequantise some groups of a row, and multiply rows of input by rows of weights.
 *
 * @module
 */

import { GROUP_SIZE } from "../quant/group_scale.ts";
import type { Bits } from "../quant/quantized_tensor.ts";
import {
  add,
  addF32,
  and,
  assemble,
  bitsToF32,
  call,
  type Code,
  f32,
  get,
  i32,
  i32x4,
  lane,
  loadBytes,
  loadF32,
  loadSplat,
  loadU16,
  loadV128,
  mul,
  mulF32,
  mulF32x4,
  mulI32x4,
  set,
  shiftLeft,
  shiftRight,
  shiftRightI32x4,
  splat,
  storeF32,
  storeV128,
  sub,
  toF32x4,
  type WasmFunction,
  whileBelow,
  widenHigh,
  widenLow,
} from "./wasm_assembler.ts";
import { hasMultiplyAdd, type MultiplyAdd, multiplyAddIf } from "./wasm_multiply_add.ts";

/** The loops, bound to a memory. All places are byte offsets. */
export interface QuantizedLoops {
  /**
   * Dequantise groups of one row, 32 numbers each.
   * @param words Integers of the first group.
   * @param scales Scale of the first group.
   * @param out Room for 32 · `groups` float32.
   */
  unpack(bits: Bits, words: number, scales: number, groups: number, out: number): void;
  /**
   * Multiply: y `[m, rows]` = x `[m, columns]` by rows of weights.
   * The scratch is room for {@link SCRATCH_ROWS} dequantised rows, their last groups whole.
   */
  multiply(bits: Bits, places: {
    /** Input. */
    readonly x: number;
    /** Its rows. */
    readonly m: number;
    /** Its columns. */
    readonly columns: number;
    /** Integers of the first row of weights. */
    readonly words: number;
    /** Scales of the first row. */
    readonly scales: number;
    /** Bytes from one row's scales to the next's. */
    readonly scaleStride: number;
    /** Rows of weights. */
    readonly rows: number;
    /** Scratch. */
    readonly scratch: number;
    /** Output. */
    readonly y: number;
  }): void;
}

/** A half-precision number is an f32 with a smaller exponent: shifted into place it is 2^112 too small. */
const HALF_TO_FLOAT = 2 ** 112;

/** Scale at an address; it is never negative, infinite or NaN. */
const scaleAt = (address: Code): Code =>
  mulF32(bitsToF32(shiftLeft(loadU16(address), i32(13))), f32(HALF_TO_FLOAT));

const next = (local: number, step: number): Code => set(local, add(get(local), i32(step)));

/** `unpack(words, scales, groups, out)`: a group at a time. */
function unpackFunction(bits: Bits): WasmFunction {
  const [words, scales, groups, out, group, scale, value] = [0, 1, 2, 3, 4, 5, 6];
  const scaled = (integers: Code) => mulF32x4(toF32x4(integers), get(scale));
  const parts: Code[] = [];
  for (let first = 0; first < GROUP_SIZE; first += 8) {
    // Eight integers: as bytes, or as the nibbles of one word, each moved to the top of its lane.
    const [low, high] = bits === 8
      ? [widenLow(get(value)), widenHigh(get(value))]
      : [[28, 24, 20, 16], [12, 8, 4, 0]].map((shifts) =>
        shiftRightI32x4(mulI32x4(get(value), i32x4(shifts.map((s) => 1 << s))), i32(28))
      );
    const place = first * bits / 8;
    parts.push(
      set(value, bits === 8 ? loadBytes(get(words), place) : loadSplat(get(words), place)),
      storeV128(get(out), scaled(low), 4 * first),
      storeV128(get(out), scaled(high), 4 * first + 16),
    );
  }
  return {
    name: `unpack${bits}`,
    parameters: 4,
    locals: { i32: 1, f32: 0, v128: 2 },
    body: whileBelow(
      group,
      get(groups),
      set(scale, splat(scaleAt(get(scales)))),
      ...parts,
      next(words, GROUP_SIZE * bits / 8),
      next(scales, 2),
      next(out, 4 * GROUP_SIZE),
      next(group, 1),
    ),
  };
}

/** Rows of input and of weights that are multiplied at a time: what is read once is used so often. */
const INPUT_ROWS = 4;
const WEIGHT_ROWS = 2;

/** Dequantised rows that {@link QuantizedLoops.multiply} needs room for. */
export const SCRATCH_ROWS: number = WEIGHT_ROWS;

/**
 * `multiply(x, m, columns, words, scales, scaleStride, rows, scratch, y)`. With products and sums at once
 * it is a sixth faster, 34.5 GFLOP/s in place of 29.4 at 80 rows by 64 × 192 (a Xeon of 2023, one core).
 */
function multiplyFunction(
  bits: Bits,
  unpackIndex: number,
  multiplyAdd: MultiplyAdd,
): WasmFunction {
  const [x, m, columns, words, scales, scaleStride, rows, scratch, y] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  // Columns are counted in bytes: `k` of them are done, `whole` of them fill vectors.
  const [n, i, k, whole, to, groups, lineBytes, rowBytes] = [9, 10, 11, 12, 13, 14, 15, 16];
  const lines = [17, 18, 19, 20];
  const weights = [21, 22];
  const sum = 23;
  const sums = [24, 25, 26, 27, 28, 29, 30, 31];
  const loaded = [32, 33];
  const total = (v: number) =>
    addF32(
      addF32(lane(get(v), 0), lane(get(v), 1)),
      addF32(lane(get(v), 2), lane(get(v), 3)),
    );
  const here = (base: number) => add(get(base), get(k));

  /** `inputs` rows of x from row i, by `count` rows of weights. */
  const block = (inputs: number, count: number): Code => {
    const usedLines = lines.slice(0, inputs);
    const usedWeights = weights.slice(0, count);
    const sumOf = (r: number, v: number) => sums[r * count + v];
    return [
      ...usedLines.flatMap((line, r) =>
        set(line, add(get(x), mul(add(get(i), i32(r)), get(lineBytes))))
      ),
      ...sums.slice(0, inputs * count).flatMap((v) => set(v, splat(f32(0)))),
      ...set(k, i32(0)),
      ...whileBelow(
        k,
        get(whole),
        ...usedWeights.map((weight, v) => set(loaded[v], loadV128(here(weight)))),
        ...usedLines.flatMap((line, r) =>
          usedWeights.map((_, v) => {
            // The input is read again for each row of weights, from the nearest cache.
            return set(
              sumOf(r, v),
              multiplyAdd(get(loaded[v]), loadV128(here(line)), get(sumOf(r, v))),
            );
          })
        ),
        next(k, 16),
      ),
      ...usedLines.flatMap((line, r) => [
        ...usedWeights.flatMap((weight, v) => [
          ...set(sum, total(sumOf(r, v))),
          ...set(k, get(whole)),
          ...whileBelow(
            k,
            get(lineBytes),
            set(sum, addF32(get(sum), mulF32(loadF32(here(weight)), loadF32(here(line))))),
            next(k, 4),
          ),
          ...storeF32(get(to), get(sum), 4 * v),
        ]),
        ...set(to, add(get(to), shiftLeft(get(rows), i32(2)))),
      ]),
      ...next(i, inputs),
    ];
  };

  /** `count` rows of weights from row n, by all rows of x. */
  const rowsOfWeights = (count: number): Code => [
    ...weights.slice(0, count).flatMap((weight) => [
      ...call(unpackIndex, get(words), get(scales), get(groups), get(weight)),
      ...set(words, add(get(words), mul(get(groups), i32(GROUP_SIZE * bits / 8)))),
      ...set(scales, add(get(scales), get(scaleStride))),
    ]),
    ...set(to, add(get(y), shiftLeft(get(n), i32(2)))),
    ...set(i, i32(0)),
    ...whileBelow(i, sub(get(m), i32(INPUT_ROWS - 1)), block(INPUT_ROWS, count)),
    ...whileBelow(i, get(m), block(1, count)),
    ...next(n, count),
  ];
  return {
    name: `multiply${bits}`,
    parameters: 9,
    locals: { i32: 14, f32: 1, v128: 10 },
    body: [
      ...set(whole, shiftLeft(and(get(columns), i32(-4)), i32(2))),
      ...set(lineBytes, shiftLeft(get(columns), i32(2))),
      ...set(groups, shiftRight(add(get(columns), i32(GROUP_SIZE - 1)), i32(5))),
      ...set(rowBytes, mul(get(groups), i32(4 * GROUP_SIZE))),
      ...set(weights[0], get(scratch)),
      ...set(weights[1], add(get(scratch), get(rowBytes))),
      ...whileBelow(n, sub(get(rows), i32(WEIGHT_ROWS - 1)), rowsOfWeights(WEIGHT_ROWS)),
      ...whileBelow(n, get(rows), rowsOfWeights(1)),
    ],
  };
}

function encodeLoops(isFused: boolean): Uint8Array<ArrayBuffer> {
  const multiplyAdd = multiplyAddIf(isFused);
  return assemble([
    unpackFunction(8),
    unpackFunction(4),
    multiplyFunction(8, 0, multiplyAdd),
    multiplyFunction(4, 1, multiplyAdd),
  ]);
}

/**
 * The loops over a memory, made anew.
 * @param isFused Multiply and add at once, where {@link hasMultiplyAdd}.
 */
export function makeQuantizedLoops(memory: WebAssembly.Memory, isFused: boolean): QuantizedLoops {
  const module = new WebAssembly.Module(encodeLoops(isFused));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const found = (name: string) => exports[name] as (...args: number[]) => void;
  const unpack = { 8: found("unpack8"), 4: found("unpack4") };
  const multiply = { 8: found("multiply8"), 4: found("multiply4") };
  return {
    unpack: (bits, words, scales, groups, out) => unpack[bits](words, scales, groups, out),
    multiply: (bits, { x, m, columns, words, scales, scaleStride, rows, scratch, y }) =>
      multiply[bits](x, m, columns, words, scales, scaleStride, rows, scratch, y),
  };
}

const bound = new WeakMap<WebAssembly.Memory, QuantizedLoops>();

/**
 * The loops over a memory; made once for each.
 * @param memory Memory of tfjs's WebAssembly backend.
 */
export function quantizedLoops(memory: WebAssembly.Memory): QuantizedLoops {
  let loops = bound.get(memory);
  if (!loops) {
    loops = makeQuantizedLoops(memory, hasMultiplyAdd());
    bound.set(memory, loops);
  }
  return loops;
}
