/**
 * The rotary position embedding for tfjs's WebAssembly backend, four pairs at a time: one pass in place
 * of a product and three passes, and the query's factor with it.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import type { KernelTable } from "./register_kernels.ts";
import { factorsOf, ROPE, type RopeArgs, sizesOf } from "./rope_kernel.ts";
import {
  add,
  bitsToF32,
  type Code,
  get,
  i32,
  set,
  shiftLeft,
  type WasmFunction,
  whileBelow,
} from "./wasm_assembler.ts";
import { floatBits, offsetOf, onMemory, type WasmBackend } from "./wasm_backend.ts";
import { type Arithmetic, overRow, placeAt } from "./wasm_rows.ts";

/** The kernel by its name. */
export const ROPE_WASM: KernelTable = { [ROPE]: rope };

/** `rope(x, table, y, positions, heads, half, cosFactor, sinFactor)`; the factors as their bits. */
function ropeFunction(): WasmFunction {
  const [x, table, y, positions, heads, half, cosFactor, sinFactor] = [0, 1, 2, 3, 4, 5, 6, 7];
  // The second halves of x, table and y lie behind the first: `x2`, `sines`, `y2`.
  const [position, head, k, bytes, x2, sines, y2] = [8, 9, 10, 11, 12, 13, 14];
  const behind = (base: number): Code => add(get(base), get(bytes));
  const twice = (base: number): Code => add(get(base), shiftLeft(get(bytes), i32(1)));
  const next = (local: number): Code => set(local, add(get(local), i32(1)));
  const load = (a: Arithmetic, base: number) => a.load(placeAt(base, k));
  const cos = (a: Arithmetic) => a.mul(load(a, table), a.spread(bitsToF32(get(cosFactor))));
  const sin = (a: Arithmetic) => a.mul(load(a, sines), a.spread(bitsToF32(get(sinFactor))));
  const pairs = overRow(k, bytes, (a) => [
    a.store(placeAt(y, k), a.sub(a.mul(load(a, x), cos(a)), a.mul(load(a, x2), sin(a)))),
    a.store(placeAt(y2, k), a.add(a.mul(load(a, x2), cos(a)), a.mul(load(a, x), sin(a)))),
  ]);
  return {
    name: "rope",
    parameters: 8,
    locals: { i32: 7, f32: 0, v128: 0 },
    body: [
      ...set(bytes, shiftLeft(get(half), i32(2))),
      ...whileBelow(
        position,
        get(positions),
        set(sines, behind(table)),
        set(head, i32(0)),
        whileBelow(
          head,
          get(heads),
          set(x2, behind(x)),
          set(y2, behind(y)),
          pairs,
          set(x, twice(x)),
          set(y, twice(y)),
          next(head),
        ),
        set(table, twice(table)),
        next(position),
      ),
    ],
  };
}

const functionsOn = onMemory(() => [ropeFunction()]);

function rope({ inputs: { x, table }, attrs, backend }: RopeArgs<WasmBackend>): TensorInfo {
  const out = backend.makeOutput(x.shape, "float32");
  const [from, angles, to] = [x, table, out].map((tensor) => offsetOf(backend, tensor));
  const { positions, heads, half } = sizesOf(x, table);
  const factors = factorsOf(attrs).map(floatBits);
  functionsOn(backend).rope(from, angles, to, positions, heads, half, ...factors);
  return out;
}
