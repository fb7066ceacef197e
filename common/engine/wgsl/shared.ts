/**
 * WGSL that several kernels share: the structures on both sides, and how weights are unpacked.
 * @module
 */

import type { Binding, Fragment } from "../kernel.ts";
import type { Bits } from "../../quant/quantized_tensor.ts";
import { paddedColumns, type WeightBits, weightWords } from "../packed_rows.ts";

/** Words of a decode state, in this order. */
export const DECODE_STATE = [
  "place", // where in the cache the token that is being fed goes
  "step", // action tokens drawn so far
  "is_done", // 1: the chunk is complete or has failed; kernels return at once
  "token", // the last FAST id drawn
  "remaining", // coefficients still missing
  "pending", // unfinished character
  "budget", // tokens left
  "fault", // one of FAULT
] as const;

/** Why decoding stopped before the chunk was complete. */
export const FAULT = { none: 0, notFinite: 1, nothingAllowed: 2 } as const;

const STATE_STRUCT = `struct DecodeState { ${DECODE_STATE.map((w) => `${w}: u32`).join(", ")} }`;

/** The decode state as kernels read it. Uniform, so that leaving early keeps barriers legal. */
export const STATE: Fragment = {
  bindings: [{ name: "state", access: "uniform", type: "DecodeState" }],
  code: STATE_STRUCT,
};

/** The decode state as the sampling kernel changes it. */
export const STATE_WRITTEN: Fragment = {
  bindings: [{ name: "state", access: "read_write", type: "DecodeState" }],
  code: STATE_STRUCT,
};

/** Words in front of the places of a sequence. */
export const PLACES_HEADER_WORDS = 4;

/** Where every place of the sequence stands: its rotary position, and whether anybody sees it. */
export const PLACES: Fragment = {
  bindings: [{ name: "places", access: "read", type: "Places" }],
  code: `struct Place { position: u32, is_seen: u32 }
struct Places { tokens: u32, prefix: u32, unused0: u32, unused1: u32, at: array<Place> }`,
};

/** Which rows of a matrix a shard has. */
export const SHARD: Fragment = {
  bindings: [{ name: "shard", access: "uniform", type: "Shard" }],
  code: "struct Shard { first: u32, rows: u32, unused0: u32, unused1: u32 }",
};

/** Four weights of a word as numbers; a word of 4-bit weights has two such quads. */
const UNPACK: Readonly<Record<Bits, string>> = {
  8: "vec4<f32>(unpack4xI8(word))",
  4: `vec4<f32>(
    bitcast<vec4<i32>>(vec4<u32>(word >> (16u * quad)) << vec4<u32>(28u, 24u, 20u, 16u)) >>
    vec4<u32>(28u))`,
};

/** Plain floats behind the same functions: a word has four of them, and no scale. */
function floatMatrix(columns: number): Fragment {
  return {
    bindings: [{ name: "values", access: "read", type: "array<vec4<f32>>" }],
    code: `const QUADS = ${paddedColumns(columns) / 4}u; // vec4s of a vector
const WORDS = QUADS; // of a row
const LOADS = QUADS; // of 16 bytes
const WORD_QUADS = 1u;
fn scale_of(row: u32, column_group: u32) -> f32 { return 1.0; }
fn weights4(word: vec4<f32>, quad: u32) -> vec4<f32> { return word; }`,
  };
}

function matrix({ bits, columns }: MatrixSize, word: string): Fragment {
  if (bits === 32) return floatMatrix(columns);
  const { values, scales } = weightWords(bits, columns);
  return {
    bindings: [
      { name: "values", access: "read", type: `array<${word}>` },
      { name: "scales", access: "read", type: "array<u32>" },
    ],
    code: `const WORDS = ${values}u; // of a row
const LOADS = WORDS / 4u; // of 16 bytes
const QUADS = ${paddedColumns(columns) / 4}u; // vec4s of a vector
const WORD_QUADS = ${8 / bits}u;
fn scale_of(row: u32, column_group: u32) -> f32 {
  let both = unpack2x16float(scales[row * ${scales}u + column_group / 2u]);
  return select(both.x, both.y, (column_group & 1u) == 1u);
}
fn weights4(word: u32, quad: u32) -> vec4<f32> { return ${UNPACK[bits]}; }`,
  };
}

/** What a kernel must know of a matrix. */
export interface MatrixSize {
  /** Bits of a weight. */
  readonly bits: WeightBits;
  /** C. */
  readonly columns: number;
}

/**
 * A matrix, read 16 bytes at a time: 16 weights in 8 bits, 32 in 4, 4 plain floats.
 * @param size Bits and columns.
 */
export function matrixVectors(size: MatrixSize): Fragment {
  return matrix(size, "vec4<u32>");
}

/**
 * A matrix, read word by word: 4 weights in 8 bits, 8 in 4. Plain floats come four at a time.
 * @param size Bits and columns.
 */
export function matrixWords(size: MatrixSize): Fragment {
  return matrix(size, "u32");
}

/**
 * A number in WGSL, whatever JavaScript would print.
 * @param value Finite.
 */
export function f32(value: number): string {
  return `f32(${value.toExponential()})`;
}

/** A binding by itself. */
export function binding(name: string, access: Binding["access"], type: string): Fragment {
  return { bindings: [{ name, access, type }], code: "" };
}

/** Text without bindings. */
export function text(code: string): Fragment {
  return { bindings: [], code };
}
