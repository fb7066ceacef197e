/**
 * LayerNorm for tfjs's WebAssembly backend, four numbers at a time: three passes over a row that stays
 * in the processor's nearest cache, where tfjs's own operations take nine over the whole tensor.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import {
  LAYER_NORM,
  LAYER_NORM_GRADIENT,
  LAYER_NORM_SCALE_GRADIENT,
  type LayerNormArgs,
  type LayerNormGradientArgs,
  type LayerNormScaleGradientArgs,
} from "./layer_norm_kernel.ts";
import type { KernelTable } from "./register_kernels.ts";
import { rowsOf } from "./rms_norm_kernel.ts";
import {
  add,
  addF32,
  bitsToF32,
  type Code,
  divF32,
  f32,
  get,
  i32,
  set,
  shiftLeft,
  sqrtF32,
  toF32,
  type WasmFunction,
  whileBelow,
} from "./wasm_assembler.ts";
import { floatBits, floatsOf, offsetOf, onMemory, type WasmBackend } from "./wasm_backend.ts";
import {
  addToSum,
  type Arithmetic,
  clearSum,
  type LocalPair,
  overRow,
  placeAt,
  totalOf,
} from "./wasm_rows.ts";

/** The kernels by their names. */
export const LAYER_NORM_WASM: KernelTable = {
  [LAYER_NORM]: ({ inputs, attrs, backend }: LayerNormArgs<WasmBackend>) => {
    const { x, scale, bias } = inputs;
    const out = backend.makeOutput(x.shape, "float32");
    return run(backend, "layerNorm", [x, scale, bias, out], x, attrs.epsilon);
  },
  [LAYER_NORM_GRADIENT]: ({ inputs, attrs, backend }: LayerNormGradientArgs<WasmBackend>) => {
    const { x, scale, dy } = inputs;
    const out = backend.makeOutput(x.shape, "float32");
    return run(backend, "gradient", [x, scale, dy, out], x, attrs.epsilon);
  },
  [LAYER_NORM_SCALE_GRADIENT]: (args: LayerNormScaleGradientArgs<WasmBackend>) => {
    const { inputs: { x, dy }, attrs, backend } = args;
    const out = backend.makeOutput([rowsOf(x)[1]], "float32");
    floatsOf(backend, out).fill(0);
    return run(backend, "scaleGradient", [x, x, dy, out], x, attrs.epsilon);
  },
};

function run(
  backend: WasmBackend,
  name: "layerNorm" | "gradient" | "scaleGradient",
  tensors: readonly TensorInfo[],
  x: TensorInfo,
  epsilon: number,
): TensorInfo {
  const places = tensors.map((tensor) => offsetOf(backend, tensor));
  functionsOn(backend)[name](...places, ...rowsOf(x), floatBits(epsilon));
  return tensors[tensors.length - 1];
}

// Parameters and locals of all three functions; OTHER is bias or dy.
const [X, SCALE, OTHER, OUT, ROWS, WIDTH, EPSILON] = [0, 1, 2, 3, 4, 5, 6];
const [ROW, K, BYTES] = [7, 8, 9];
const [MEAN, FACTOR, SHIFT, ALONG] = [10, 11, 12, 13];
const SUM: LocalPair = { single: 14, vector: 16 };
const DOT: LocalPair = { single: 15, vector: 17 };

const loadAt = (a: Arithmetic, base: number): Code => a.load(placeAt(base, K));
const centred = (a: Arithmetic): Code => a.sub(loadAt(a, X), a.spread(get(MEAN)));
const normal = (a: Arithmetic): Code => a.mul(centred(a), a.spread(get(FACTOR)));
const scaledDy = (a: Arithmetic): Code => a.mul(loadAt(a, OTHER), loadAt(a, SCALE));
const storeOut = (a: Arithmetic, value: Code): Code => a.store(placeAt(OUT, K), value);
/** Mean over the row of what a pair of locals has summed up. */
const meanOf = (sum: LocalPair): Code => divF32(totalOf(sum), toF32(get(WIDTH)));

/** Sets MEAN and FACTOR of a row. */
const MOMENTS: Code = [
  ...clearSum(SUM),
  ...overRow(K, BYTES, (a) => [addToSum(a, SUM, loadAt(a, X))]),
  ...set(MEAN, meanOf(SUM)),
  ...clearSum(SUM),
  ...overRow(K, BYTES, (a) => [addToSum(a, SUM, a.mul(centred(a), centred(a)))]),
  ...set(FACTOR, divF32(f32(1), sqrtF32(addF32(meanOf(SUM), bitsToF32(get(EPSILON)))))),
];

/** A function that does some work for every row, behind its moments. */
function rowFunction(name: string, moving: readonly number[], ...work: Code[]): WasmFunction {
  return {
    name,
    parameters: 7,
    locals: { i32: 3, f32: 6, v128: 2 },
    body: [
      ...set(BYTES, shiftLeft(get(WIDTH), i32(2))),
      ...whileBelow(
        ROW,
        get(ROWS),
        MOMENTS,
        ...work,
        ...moving.map((base) => set(base, add(get(base), get(BYTES)))),
        set(ROW, add(get(ROW), i32(1))),
      ),
    ],
  };
}

const functionsOn = onMemory(() => [
  rowFunction(
    "layerNorm",
    [X, OUT],
    overRow(K, BYTES, (a) => [
      storeOut(a, a.add(a.mul(normal(a), loadAt(a, SCALE)), loadAt(a, OTHER))),
    ]),
  ),
  rowFunction(
    "gradient",
    [X, OTHER, OUT],
    clearSum(SUM),
    clearSum(DOT),
    overRow(K, BYTES, (a) => [
      addToSum(a, SUM, scaledDy(a)),
      addToSum(a, DOT, a.mul(scaledDy(a), normal(a))),
    ]),
    set(SHIFT, meanOf(SUM)),
    set(ALONG, meanOf(DOT)),
    overRow(K, BYTES, (a) => {
      const rest = a.sub(scaledDy(a), a.spread(get(SHIFT)));
      const along = a.mul(normal(a), a.spread(get(ALONG)));
      return [storeOut(a, a.mul(a.sub(rest, along), a.spread(get(FACTOR))))];
    }),
  ),
  rowFunction(
    "scaleGradient",
    [X, OTHER],
    overRow(K, BYTES, (a) => [
      storeOut(a, a.add(loadAt(a, OUT), a.mul(loadAt(a, OTHER), normal(a)))),
    ]),
  ),
]);
