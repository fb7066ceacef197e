/**
 * RMSNorm for tfjs's WebAssembly backend, four numbers at a time: one pass instead of the six that
 * tfjs's own operations take.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import type { KernelTable } from "./register_kernels.ts";
import {
  RMS_NORM,
  RMS_NORM_GRADIENT,
  RMS_NORM_SCALE_GRADIENT,
  type RmsNormArgs,
  type RmsNormGradientArgs,
  type RmsNormScaleGradientArgs,
  rowsOf,
} from "./rms_norm_kernel.ts";
import {
  add,
  addF32,
  bitsToF32,
  type Code,
  divF32,
  f32,
  get,
  i32,
  mulF32,
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
export const RMS_NORM_WASM: KernelTable = {
  [RMS_NORM]: rmsNorm,
  [RMS_NORM_GRADIENT]: gradient,
  [RMS_NORM_SCALE_GRADIENT]: scaleGradient,
};

// Parameters and locals of all three functions. A function without dy or scale is given 0 for it.
const [X, SCALE, DY, OUT, ROWS, WIDTH, EPSILON] = [0, 1, 2, 3, 4, 5, 6];
const [ROW, K, BYTES] = [7, 8, 9];
const [FACTOR, ALONG] = [10, 11];
const SQUARES: LocalPair = { single: 12, vector: 14 };
const DOT: LocalPair = { single: 13, vector: 15 };
const SIGNATURE = { parameters: 7, locals: { i32: 3, f32: 4, v128: 2 } };

const loadAt = (a: Arithmetic, base: number): Code => a.load(placeAt(base, K));

/** A number of dy, times 1 + scale. */
const scaledDy = (a: Arithmetic): Code =>
  a.mul(loadAt(a, DY), a.add(loadAt(a, SCALE), a.spread(f32(1))));

/** Mean over the row of what a pair of locals has summed up. */
const meanOf = (sum: LocalPair): Code => divF32(totalOf(sum), toF32(get(WIDTH)));

const SET_FACTOR = set(
  FACTOR,
  divF32(f32(1), sqrtF32(addF32(meanOf(SQUARES), bitsToF32(get(EPSILON))))),
);

const addSquare = (a: Arithmetic): Code => addToSum(a, SQUARES, a.mul(loadAt(a, X), loadAt(a, X)));

/** For every row: its work, then the addresses of the next one. */
function overRows(moving: readonly number[], ...work: readonly Code[]): Code {
  return [
    ...set(BYTES, shiftLeft(get(WIDTH), i32(2))),
    ...whileBelow(
      ROW,
      get(ROWS),
      ...work,
      ...moving.map((base) => set(base, add(get(base), get(BYTES)))),
      set(ROW, add(get(ROW), i32(1))),
    ),
  ];
}

const FUNCTIONS: readonly WasmFunction[] = [
  {
    name: "rmsNorm",
    ...SIGNATURE,
    body: overRows(
      [X, OUT],
      clearSum(SQUARES),
      overRow(K, BYTES, (a) => [addSquare(a)]),
      SET_FACTOR,
      overRow(K, BYTES, (a) => [
        a.store(
          placeAt(OUT, K),
          a.mul(
            a.mul(loadAt(a, X), a.spread(get(FACTOR))),
            a.add(loadAt(a, SCALE), a.spread(f32(1))),
          ),
        ),
      ]),
    ),
  },
  {
    name: "gradient",
    ...SIGNATURE,
    body: overRows(
      [X, DY, OUT],
      clearSum(SQUARES),
      clearSum(DOT),
      overRow(K, BYTES, (a) => [
        addSquare(a),
        addToSum(a, DOT, a.mul(scaledDy(a), loadAt(a, X))),
      ]),
      SET_FACTOR,
      set(ALONG, mulF32(mulF32(get(FACTOR), get(FACTOR)), meanOf(DOT))),
      overRow(K, BYTES, (a) => [
        a.store(
          placeAt(OUT, K),
          a.mul(
            a.spread(get(FACTOR)),
            a.sub(scaledDy(a), a.mul(loadAt(a, X), a.spread(get(ALONG)))),
          ),
        ),
      ]),
    ),
  },
  {
    name: "scaleGradient",
    ...SIGNATURE,
    body: overRows(
      [X, DY],
      clearSum(SQUARES),
      overRow(K, BYTES, (a) => [addSquare(a)]),
      SET_FACTOR,
      overRow(K, BYTES, (a) => [
        a.store(
          placeAt(OUT, K),
          a.add(
            loadAt(a, OUT),
            a.mul(a.mul(loadAt(a, DY), loadAt(a, X)), a.spread(get(FACTOR))),
          ),
        ),
      ]),
    ),
  },
];

const functionsOn = onMemory(() => FUNCTIONS);

function rmsNorm({ inputs: { x, scale }, attrs, backend }: RmsNormArgs<WasmBackend>): TensorInfo {
  const out = backend.makeOutput(x.shape, "float32");
  const at = (t: TensorInfo) => offsetOf(backend, t);
  const { rmsNorm } = functionsOn(backend);
  rmsNorm(at(x), at(scale), 0, at(out), ...rowsOf(x), floatBits(attrs.epsilon));
  return out;
}

function gradient(
  { inputs: { x, scale, dy }, attrs, backend }: RmsNormGradientArgs<WasmBackend>,
): TensorInfo {
  const out = backend.makeOutput(x.shape, "float32");
  const at = (t: TensorInfo) => offsetOf(backend, t);
  const { gradient } = functionsOn(backend);
  gradient(at(x), at(scale), at(dy), at(out), ...rowsOf(x), floatBits(attrs.epsilon));
  return out;
}

function scaleGradient(
  { inputs: { x, dy }, attrs, backend }: RmsNormScaleGradientArgs<WasmBackend>,
): TensorInfo {
  const [rows, width] = rowsOf(x);
  const out = backend.makeOutput([width], "float32");
  floatsOf(backend, out).fill(0);
  const at = (t: TensorInfo) => offsetOf(backend, t);
  const { scaleGradient } = functionsOn(backend);
  scaleGradient(at(x), 0, at(dy), at(out), rows, width, floatBits(attrs.epsilon));
  return out;
}
