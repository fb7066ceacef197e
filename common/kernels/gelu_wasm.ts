/**
 * gelu and its product with another tensor for tfjs's WebAssembly backend: one pass, four numbers at a
 * time, where tfjs's own operations take five and keep four tensors.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import {
  GATED_GELU,
  GATED_GELU_GRADIENT,
  type GatedGeluArgs,
  type GatedGeluGradientArgs,
  GELU,
  GELU_CUBIC,
  GELU_GRADIENT,
  GELU_LINEAR,
  type GeluArgs,
  type GeluGradientArgs,
  geluOf,
  geluSlope,
} from "./gelu_kernel.ts";
import type { KernelTable } from "./register_kernels.ts";
import {
  add,
  addF32x4,
  and,
  type Code,
  divF32x4,
  get,
  i32,
  loadV128,
  maxF32x4,
  minF32x4,
  mulF32x4,
  set,
  storeV128,
  subF32x4,
  type WasmFunction,
  whileBelow,
} from "./wasm_assembler.ts";
import { floatsOf, offsetOf, onMemory, type WasmBackend } from "./wasm_backend.ts";
import { VectorConstants } from "./wasm_constants.ts";
import { exponential, type ExponentialParts } from "./wasm_exp.ts";
import { type MultiplyAdd, multiplyAddHere } from "./wasm_multiply_add.ts";
import { placeAt } from "./wasm_rows.ts";

/** The kernels by their names. */
export const GELU_WASM: KernelTable = {
  [GELU]: ({ inputs: { x }, backend }: GeluArgs<WasmBackend>) => run(backend, "gelu", { x })[0],
  [GELU_GRADIENT]: ({ inputs: { x, dy }, backend }: GeluGradientArgs<WasmBackend>) =>
    run(backend, "gradient", { x, dy })[0],
  [GATED_GELU]: ({ inputs: { gate: x, up }, backend }: GatedGeluArgs<WasmBackend>) =>
    run(backend, "gated", { x, up })[0],
  [GATED_GELU_GRADIENT]: (args: GatedGeluGradientArgs<WasmBackend>) => {
    const { inputs: { gate: x, up, dy }, backend } = args;
    return run(backend, "gatedGradient", { x, up, dy });
  },
};

type FunctionName = "gelu" | "gradient" | "gated" | "gatedGradient";

/** The same for one number: what is left behind the last four. */
const SINGLE: Readonly<Record<FunctionName, (x: number, up: number, dy: number) => number[]>> = {
  gelu: (x) => [geluOf(x)],
  gradient: (x, _, dy) => [dy * geluSlope(x)],
  gated: (x, up) => [geluOf(x) * up],
  gatedGradient: (x, up, dy) => [dy * up * geluSlope(x), dy * geluOf(x)],
};

// Parameters and locals of all functions. One without up or dy is given 0 for it.
const [X_AT, UP_AT, DY_AT, OUT_AT, SECOND_AT, BYTES, K] = [0, 1, 2, 3, 4, 5, 6];
const [X, SIGMA, SCRATCH_A, SCRATCH_B, SCRATCH_C, FIRST_FREE] = [7, 8, 9, 10, 11, 12];

/** exp() is finite up to here, and σ is 1 long before. */
const MOST = 88;
/**
 * Smaller than what counts beside anything, and taken off exp(v): behind it σ is 0. A number of 10⁻³⁸
 * would do as well, but processors take some hundred cycles for a product of such ones, and an MLP
 * whose gates are far below 0 is full of them.
 */
const LEAST = Math.exp(-60);

const load = (base: number) => loadV128(placeAt(base, K));
const store = (base: number, value: Code) => storeV128(placeAt(base, K), value);
const product = (...factors: Code[]) => factors.reduce((a, b) => mulF32x4(a, b));

/** σ(v) and the slope of gelu, as instructions. */
interface GeluCode {
  /** Puts σ(v) = exp(v) / (1 + exp(v)) into its local. */
  readonly setSigma: Code;
  /** σ · (1 + x · (1 − σ) · (a + 3b · x²)) */
  readonly slope: Code;
}

function geluCode(parts: ExponentialParts): GeluCode {
  const { multiplyAdd, constant } = parts;
  /** a + b · x². */
  const curve = (b: number) =>
    multiplyAdd(constant(b), mulF32x4(get(X), get(X)), constant(GELU_LINEAR));
  const others = subF32x4(constant(1), get(SIGMA));
  const tilt = multiplyAdd(product(get(X), others), curve(3 * GELU_CUBIC), constant(1));
  return {
    setSigma: [
      ...set(SIGMA, minF32x4(mulF32x4(get(X), curve(GELU_CUBIC)), constant(MOST))),
      ...exponential(SIGMA, SCRATCH_A, SCRATCH_B, SCRATCH_C, parts),
      ...set(SIGMA, maxF32x4(subF32x4(get(SIGMA), constant(LEAST)), constant(0))),
      ...set(SIGMA, divF32x4(get(SIGMA), addF32x4(constant(1), get(SIGMA)))),
    ],
    slope: mulF32x4(get(SIGMA), tilt),
  };
}

function elementwise(
  name: FunctionName,
  multiplyAdd: MultiplyAdd,
  stores: (slope: Code) => readonly Code[],
): WasmFunction {
  const constants = new VectorConstants(FIRST_FREE);
  const { setSigma, slope } = geluCode({ multiplyAdd, constant: constants.of });
  const loop = whileBelow(
    K,
    and(get(BYTES), i32(-16)),
    set(X, load(X_AT)),
    setSigma,
    ...stores(slope),
    set(K, add(get(K), i32(16))),
  );
  return {
    name,
    parameters: 6,
    locals: { i32: 1, f32: 0, v128: 5 + constants.count },
    body: [...constants.prologue, ...loop],
  };
}

const functionsOn = onMemory(() => {
  const multiplyAdd = multiplyAddHere();
  return [
    elementwise("gelu", multiplyAdd, () => [store(OUT_AT, product(get(X), get(SIGMA)))]),
    elementwise("gradient", multiplyAdd, (slope) => [store(OUT_AT, product(load(DY_AT), slope))]),
    elementwise("gated", multiplyAdd, () => [
      store(OUT_AT, product(get(X), get(SIGMA), load(UP_AT))),
    ]),
    elementwise("gatedGradient", multiplyAdd, (slope) => [
      store(OUT_AT, product(load(DY_AT), load(UP_AT), slope)),
      store(SECOND_AT, product(load(DY_AT), get(X), get(SIGMA))),
    ]),
  ];
});

interface Inputs {
  readonly x: TensorInfo;
  readonly up?: TensorInfo;
  readonly dy?: TensorInfo;
}

function run(backend: WasmBackend, name: FunctionName, inputs: Inputs): TensorInfo[] {
  const { x, up, dy } = inputs;
  const makeOutput = () => backend.makeOutput(x.shape, "float32");
  const outputs = name === "gatedGradient" ? [makeOutput(), makeOutput()] : [makeOutput()];
  const at = (tensor?: TensorInfo) => (tensor ? offsetOf(backend, tensor) : 0);
  const size = x.shape.reduce((a, b) => a * b, 1);
  const [out, second] = outputs;
  functionsOn(backend)[name](at(x), at(up), at(dy), at(out), at(second), 4 * size);
  if (size % 4 !== 0) finish(backend, name, inputs, outputs);
  return outputs;
}

/** The last numbers, fewer than four. */
function finish(
  backend: WasmBackend,
  name: FunctionName,
  { x, up, dy }: Inputs,
  outputs: readonly TensorInfo[],
): void {
  const [values, ups, dys] = [x, up ?? x, dy ?? x].map((tensor) => floatsOf(backend, tensor));
  const to = outputs.map((tensor) => floatsOf(backend, tensor));
  for (let i = values.length - values.length % 4; i < values.length; i++) {
    SINGLE[name](values[i], ups[i], dys[i]).forEach((value, output) => (to[output][i] = value));
  }
}

/**
 * gelu(gate) · up into a tensor that is there, such as one of the two.
 * @param out The shape of gate and up.
 */
export function gateInto(
  backend: WasmBackend,
  gate: TensorInfo,
  up: TensorInfo,
  out: TensorInfo,
): void {
  const [from, ups, to] = [gate, up, out].map((tensor) => offsetOf(backend, tensor));
  const size = gate.shape.reduce((a, b) => a * b, 1);
  functionsOn(backend).gated(from, ups, 0, to, 0, 4 * size);
  if (size % 4 !== 0) finish(backend, "gated", { x: gate, up }, [out]);
}
