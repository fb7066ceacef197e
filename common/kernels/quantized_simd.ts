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
  addF32x4,
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
   * @param row Room for a dequantised row, its last group whole.
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
    readonly row: number;
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

/** `multiply(x, m, columns, words, scales, scaleStride, rows, row, y)`. */
function multiplyFunction(bits: Bits, unpackIndex: number): WasmFunction {
  const [x, m, columns, words, scales, scaleStride, rows, row, y] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const [n, i, k, whole, line, to, groups, rowBytes] = [9, 10, 11, 12, 13, 14, 15, 16];
  const [sum, weight] = [17, 18];
  const acc = [19, 20, 21, 22];
  const w = 23;
  const lanes = (v: number) =>
    addF32(
      addF32(lane(get(v), 0), lane(get(v), 1)),
      addF32(lane(get(v), 2), lane(get(v), 3)),
    );
  const lineOf = (r: number) => add(get(line), mul(get(rowBytes), i32(r)));
  /** `count` rows of input from row i, against the row of weights. */
  const rowsOfInput = (count: number): Code => {
    const used = Array.from({ length: count }, (_, r) => r);
    const place = (base: Code) => add(base, shiftLeft(get(k), i32(2)));
    return [
      ...set(line, add(get(x), mul(get(i), get(rowBytes)))),
      ...used.flatMap((r) => set(acc[r], splat(f32(0)))),
      ...set(k, i32(0)),
      ...whileBelow(
        k,
        get(whole),
        set(w, loadV128(place(get(row)))),
        ...used.map((r) =>
          set(acc[r], addF32x4(get(acc[r]), mulF32x4(get(w), loadV128(place(lineOf(r))))))
        ),
        next(k, 4),
      ),
      ...used.flatMap((r) => [
        ...set(sum, lanes(acc[r])),
        ...set(k, get(whole)),
        ...whileBelow(
          k,
          get(columns),
          set(weight, loadF32(place(get(row)))),
          set(sum, addF32(get(sum), mulF32(get(weight), loadF32(place(lineOf(r)))))),
          next(k, 1),
        ),
        ...storeF32(get(to), get(sum)),
        ...set(to, add(get(to), shiftLeft(get(rows), i32(2)))),
      ]),
      ...next(i, count),
    ];
  };
  return {
    name: `multiply${bits}`,
    parameters: 9,
    locals: { i32: 8, f32: 2, v128: 5 },
    body: [
      ...set(whole, and(get(columns), i32(-4))),
      ...set(rowBytes, shiftLeft(get(columns), i32(2))),
      ...set(groups, [...add(get(columns), i32(GROUP_SIZE - 1)), ...i32(5), 0x76]),
      ...whileBelow(
        n,
        get(rows),
        call(unpackIndex, get(words), get(scales), get(groups), get(row)),
        set(words, add(get(words), mul(get(groups), i32(GROUP_SIZE * bits / 8)))),
        set(scales, add(get(scales), get(scaleStride))),
        set(to, add(get(y), shiftLeft(get(n), i32(2)))),
        set(i, i32(0)),
        whileBelow(i, sub(get(m), i32(3)), rowsOfInput(4)),
        whileBelow(i, get(m), rowsOfInput(1)),
        next(n, 1),
      ),
    ],
  };
}

const bound = new WeakMap<WebAssembly.Memory, QuantizedLoops>();

/**
 * The loops over a memory; made once for each.
 * @param memory Memory of tfjs's WebAssembly backend.
 */
export function quantizedLoops(memory: WebAssembly.Memory): QuantizedLoops {
  const known = bound.get(memory);
  if (known) return known;
  const code = assemble([
    unpackFunction(8),
    unpackFunction(4),
    multiplyFunction(8, 0),
    multiplyFunction(4, 1),
  ]);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code), { env: { memory } });
  const found = (name: string) => exports[name] as (...args: number[]) => void;
  const unpack = { 8: found("unpack8"), 4: found("unpack4") };
  const multiply = { 8: found("multiply8"), 4: found("multiply4") };
  const loops: QuantizedLoops = {
    unpack: (bits, words, scales, groups, out) => unpack[bits](words, scales, groups, out),
    multiply: (bits, { x, m, columns, words, scales, scaleStride, rows, row, y }) =>
      multiply[bits](x, m, columns, words, scales, scaleStride, rows, row, y),
  };
  bound.set(memory, loops);
  return loops;
}
