/**
 * As much of WebAssembly's binary format as a few numeric loops need: instructions as arrays of
 * bytes, and a module around them that works on somebody else's memory.
 *
 * Source: WebAssembly core specification 2.0, chapter 5, with its 128-bit vectors.
 *
 * @module
 */

/** Instructions, encoded. */
export type Code = readonly number[];

/** A function of a module; parameters are all i32, and there is no result. */
export interface WasmFunction {
  /** Its name outside. */
  readonly name: string;
  /** How many parameters it has: locals 0, 1, … */
  readonly parameters: number;
  /** Further locals, behind the parameters in this order. */
  readonly locals: {
    /** How many i32. */
    readonly i32: number;
    /** How many f32. */
    readonly f32: number;
    /** How many vectors. */
    readonly v128: number;
  };
  /** What it does. */
  readonly body: Code;
}

const I32 = 0x7f, F32 = 0x7d, V128 = 0x7b;
const EMPTY = 0x40, END = 0x0b;

function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [value & 0x7f | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  const isLast = value >= -64 && value < 64;
  return isLast ? [value & 0x7f] : [value & 0x7f | 0x80, ...signed(value >> 7)];
}

const vector = (items: readonly Code[]) => [...unsigned(items.length), ...items.flat()];
const section = (id: number, content: Code) => [id, ...unsigned(content.length), ...content];
const text = (value: string) => vector([...new TextEncoder().encode(value)].map((byte) => [byte]));
const simd = (opcode: number) => [0xfd, ...unsigned(opcode)];
const at = (align: number, offset: number) => [...unsigned(align), ...unsigned(offset)];

/** A constant. */
export const i32 = (value: number): Code => [0x41, ...signed(value)];
/** A constant. */
export const f32 = (value: number): Code => [
  0x43,
  ...new Uint8Array(new Float32Array([value]).buffer),
];
/** Four constants as one vector. */
export const i32x4 = (values: readonly number[]): Code => [
  ...simd(12),
  ...new Uint8Array(new Int32Array(values).buffer),
];
/** The value of a local. */
export const get = (local: number): Code => [0x20, ...unsigned(local)];
/** Give a local a value. */
export const set = (local: number, value: Code): Code => [...value, 0x21, ...unsigned(local)];

/** An instruction that takes one value. */
export type Unary = (a: Code) => Code;
/** An instruction that takes two values. */
export type Binary = (a: Code, b: Code) => Code;

const binary = (...opcode: number[]): Binary => (a, b) => [...a, ...b, ...opcode];
const unary = (...opcode: number[]): Unary => (a) => [...a, ...opcode];

/** Sum of two i32. */
export const add: Binary = binary(0x6a);
/** Difference of two i32. */
export const sub: Binary = binary(0x6b);
/** Product of two i32. */
export const mul: Binary = binary(0x6c);
/** Bitwise and of two i32. */
export const and: Binary = binary(0x71);
/** An i32 shifted left by another. */
export const shiftLeft: Binary = binary(0x74);
/** An i32 shifted right by another, zeros coming in. */
export const shiftRight: Binary = binary(0x76);
/** Sum of two f32. */
export const addF32: Binary = binary(0x92);
/** Product of two f32. */
export const mulF32: Binary = binary(0x94);
/** Difference of two f32. */
export const subF32: Binary = binary(0x93);
/** Quotient of two f32. */
export const divF32: Binary = binary(0x95);
/** The greater of two f32. */
export const maxF32: Binary = binary(0x97);
/** Square root of an f32. */
export const sqrtF32: Unary = unary(0x91);
/** An i32 as f32. */
export const toF32: Unary = unary(0xb2);
/** The f32 with the bits of an i32. */
export const bitsToF32: Unary = unary(0xbe);
/** Sum of two vectors of four f32. */
export const addF32x4: Binary = binary(...simd(0xe4));
/** Product of two vectors of four f32. */
export const mulF32x4: Binary = binary(...simd(0xe6));
/** A product of vectors of four f32 plus a third, rounded once: of WebAssembly's relaxed vectors. */
export const multiplyAddF32x4 = (a: Code, b: Code, c: Code): Code => [
  ...a,
  ...b,
  ...c,
  ...simd(0x105),
];
/** Difference of two vectors of four f32. */
export const subF32x4: Binary = binary(...simd(0xe5));
/** Quotient of two vectors of four f32. */
export const divF32x4: Binary = binary(...simd(0xe7));
/** The less of two f32, four times; the first where one of them is no number (an instruction of x86). */
export const minF32x4: Binary = binary(...simd(0xea));
/** The greater of two f32, four times; the first where one of them is no number. */
export const maxF32x4: Binary = binary(...simd(0xeb));
/** All bits set where one f32 is less than another, four times. */
export const lessF32x4: Binary = binary(...simd(0x43));
/** The bits of one vector that are not set in another. */
export const andNotV128: Binary = binary(...simd(0x4f));
/** The nearest whole numbers to four f32, as f32; halves go to the even one. */
export const nearestF32x4: Unary = unary(...simd(0x6a));
/** Four f32 as i32, towards zero; what is too great for one becomes the greatest. */
export const toI32x4: Unary = unary(...simd(0xf8));
/** Sum of two vectors of four i32. */
export const addI32x4: Binary = binary(...simd(0xae));
/** Four i32 shifted left by an i32. */
export const shiftLeftI32x4: Binary = binary(...simd(0xab));
/** Four of the eight 32-bit numbers of two vectors, by their places 0…7. */
export const pick = (a: Code, b: Code, places: readonly number[]): Code => [
  ...a,
  ...b,
  ...simd(0x0d),
  ...places.flatMap((place) => [0, 1, 2, 3].map((byte) => 4 * place + byte)),
];
/** Product of two vectors of four i32. */
export const mulI32x4: Binary = binary(...simd(0xb5));
/** Four i32 shifted right, keeping their signs. */
export const shiftRightI32x4: Binary = binary(...simd(0xac));
/** Four i32 as f32. */
export const toF32x4: Unary = unary(...simd(0xfa));
/** The first four of eight 16-bit integers, widened. */
export const widenLow: Unary = unary(...simd(0xa7));
/** The last four of eight 16-bit integers, widened. */
export const widenHigh: Unary = unary(...simd(0xa8));
/** One f32 four times. */
export const splat: Unary = unary(...simd(0x13));
/** One f32 of four. */
export const lane = (value: Code, index: number): Code => [...value, ...simd(0x1f), index];

/** Read an unsigned 16-bit integer. */
export const loadU16 = (address: Code, offset = 0): Code => [...address, 0x2f, ...at(1, offset)];
/** Read an f32. */
export const loadF32 = (address: Code, offset = 0): Code => [...address, 0x2a, ...at(2, offset)];
/** Read four numbers. */
export const loadV128 = (address: Code, offset = 0): Code => [
  ...address,
  ...simd(0),
  ...at(2, offset),
];
/** Read eight signed bytes as 16-bit integers. */
export const loadBytes = (address: Code, offset = 0): Code => [
  ...address,
  ...simd(1),
  ...at(0, offset),
];
/** Read one 32-bit number four times. */
export const loadSplat = (address: Code, offset = 0): Code => [
  ...address,
  ...simd(9),
  ...at(2, offset),
];
/** Write an f32. */
export const storeF32 = (address: Code, value: Code, offset = 0): Code => [
  ...address,
  ...value,
  0x38,
  ...at(2, offset),
];
/** Write four numbers. */
export const storeV128 = (address: Code, value: Code, offset = 0): Code => [
  ...address,
  ...value,
  ...simd(11),
  ...at(2, offset),
];

/** Call a function of the module by its place. */
export const call = (index: number, ...args: readonly Code[]): Code => [
  ...args.flat(),
  0x10,
  ...unsigned(index),
];

/** Repeat while a local is below a bound; the body must raise it. */
export const whileBelow = (local: number, bound: Code, ...body: readonly Code[]): Code => [
  ...[0x02, EMPTY, 0x03, EMPTY],
  ...[...get(local), ...bound, 0x4e, 0x0d, 1], // leave the block when local ≥ bound
  ...body.flat(),
  ...[0x0c, 0, END, END],
];

/**
 * Encode a module that imports its memory as `env.memory`.
 * @param functions Its functions, all exported, called by their place in this list.
 */
export function assemble(functions: readonly WasmFunction[]): Uint8Array<ArrayBuffer> {
  const types = functions.map(({ parameters }) => [
    0x60,
    ...vector(Array.from({ length: parameters }, () => [I32])),
    0,
  ]);
  const bodies = functions.map(({ locals, body }) => {
    const kinds = [[locals.i32, I32], [locals.f32, F32], [locals.v128, V128]];
    const declared = vector(kinds.map(([count, type]) => [...unsigned(count), type]));
    const code = [...declared, ...body, END];
    return [...unsigned(code.length), ...code];
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(types)),
    ...section(2, vector([[...text("env"), ...text("memory"), 2, 0, 1]])),
    ...section(3, vector(functions.map((_, i) => unsigned(i)))),
    ...section(7, vector(functions.map(({ name }, i) => [...text(name), 0, ...unsigned(i)]))),
    ...section(10, vector(bodies)),
  ]);
}
