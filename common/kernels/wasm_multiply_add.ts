/**
 * A product of vectors plus a third in WebAssembly: rounded once where the machine has such an
 * instruction, and twice elsewhere.
 *
 * @module
 */

import {
  addF32x4,
  assemble,
  type Code,
  f32,
  mulF32x4,
  multiplyAddF32x4,
  set,
  splat,
} from "./wasm_assembler.ts";

/** a · b + c of vectors of four f32. */
export type MultiplyAdd = (a: Code, b: Code, c: Code) => Code;

/**
 * A product plus a third.
 * @param isFused Rounded once, by an instruction that not every WebAssembly has.
 */
export function multiplyAddIf(isFused: boolean): MultiplyAdd {
  return isFused ? multiplyAddF32x4 : (a, b, c) => addF32x4(c, mulF32x4(a, b));
}

/** True if this WebAssembly multiplies and adds at once. */
export function hasMultiplyAdd(): boolean {
  const zero = splat(f32(0));
  const body = set(0, multiplyAddF32x4(zero, zero, zero));
  const locals = { i32: 0, f32: 0, v128: 1 };
  return WebAssembly.validate(assemble([{ name: "f", parameters: 0, locals, body }]));
}

/** The quicker {@link multiplyAddIf} of this WebAssembly. */
export function multiplyAddHere(): MultiplyAdd {
  return multiplyAddIf(hasMultiplyAdd());
}
