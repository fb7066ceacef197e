/**
 * The gated MLP as one operation, for weights in float32 and in few bits, for every tfjs backend.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { NamedTensorMap, Tensor, Tensor2D } from "../policy/tensors.ts";
import { GATED_MLP_CPU } from "./gated_mlp_cpu.ts";
import {
  GATED_MLP,
  intoHidden,
  outOfHidden,
  QUANTIZED_GATED_MLP,
  QUANTIZED_MLP_INPUTS,
  type QuantizedMlpAttrs,
} from "./gated_mlp_kernel.ts";
import { GATED_MLP_WASM } from "./gated_mlp_wasm.ts";
import { GATED_MLP_WEBGPU } from "./gated_mlp_webgpu.ts";
import { gatedGelu, gatedGeluGradients } from "./gelu_ops.ts";
import { MATMUL, MATMUL_TRANSPOSED } from "./quantized_kernel.ts";
import { QuantizedMatrix } from "./quantized_matrix.ts";
import { ensureQuantizedKernels, quantizedMatMul } from "./quantized_ops.ts";
import { backendKind, kernelRegistrar, runKernel } from "./register_kernels.ts";

/** A weight: `[in, out]` in float32, or in few bits a row for each output. */
export type MlpWeight = Tensor | QuantizedMatrix;

/** Weights of a gated MLP. */
export interface MlpWeights {
  /** D to F: what goes through gelu. */
  readonly gate: MlpWeight;
  /** D to F. */
  readonly up: MlpWeight;
  /** F to O. */
  readonly down: MlpWeight;
}

/**
 * (gelu(x·gate) · (x·up)) · down, with gelu's tanh approximation.
 *
 * Weights in few bits take one kernel, which keeps nothing but x for its gradient: the two products are
 * made again. They themselves have no gradient. Float32 weights take one kernel on WebAssembly where
 * no gradient is asked for; elsewhere tfjs's products and {@link gatedGelu}, which keeps what training
 * needs: a product made again would cost it 2 of 11.
 *
 * @param x `[…, D]` float32.
 * @returns `[…, O]`.
 * @throws {RangeError} When the weights do not fit x or each other.
 */
export function gatedMlp(x: Tensor, weights: MlpWeights): Tensor {
  checkSizes(x, weights);
  const { gate, up, down } = weights;
  const areQuantized = gate instanceof QuantizedMatrix && up instanceof QuantizedMatrix &&
    down instanceof QuantizedMatrix;
  const fitsOneKernel = areQuantized && gate.bits === up.bits && gate.bits === down.bits &&
    [gate, up, down].every(({ parts }) => parts.length === 1);
  if (fitsOneKernel) {
    return quantizedGatedMlp(x, gate, up, down);
  }
  const areFloats = [gate, up, down].every((weight) => !(weight instanceof QuantizedMatrix));
  if (areFloats && backendKind() === "wasm" && !tf.engine().isTapeOn()) {
    ensureKernels();
    return runKernel(GATED_MLP, { x, ...weights } as NamedTensorMap);
  }
  const flat = tf.reshape(x, [-1, sizeOf(gate).from]) as Tensor2D;
  const hidden = gatedGelu(product(flat, gate), product(flat, up)) as Tensor2D;
  return tf.reshape(product(hidden, down), [...x.shape.slice(0, -1), sizeOf(down).to]);
}

function product(x: Tensor2D, weight: MlpWeight): Tensor {
  return weight instanceof QuantizedMatrix
    ? quantizedMatMul(x, weight)
    : tf.matMul(x, weight as Tensor2D);
}

/** What a weight takes in and gives out. */
function sizeOf(weight: MlpWeight): { readonly from: number; readonly to: number } {
  if (weight instanceof QuantizedMatrix) return { from: weight.columns, to: weight.rows };
  return { from: weight.shape[0], to: weight.shape[1]! };
}

function checkSizes(x: Tensor, { gate, up, down }: MlpWeights): void {
  const [g, u, d] = [gate, up, down].map(sizeOf);
  const width = x.shape[x.shape.length - 1];
  if (g.from === width && u.from === width && g.to === u.to && d.from === g.to) return;
  throw new RangeError(
    `Cannot run a gated MLP of ${g.from} → ${g.to}, ${u.from} → ${u.to} and ${d.from} → ${d.to} over ` +
      `[${x.shape}]: the first two must take the last axis, and the third what they give`,
  );
}

function quantizedGatedMlp(
  x: Tensor,
  gate: QuantizedMatrix,
  up: QuantizedMatrix,
  down: QuantizedMatrix,
): Tensor {
  ensureKernels();
  ensureQuantizedKernels(); // for the gradient
  return runKernel(
    QUANTIZED_GATED_MLP,
    {
      x,
      gateWords: gate.parts[0].words,
      gateScales: gate.parts[0].scales,
      upWords: up.parts[0].words,
      upScales: up.parts[0].scales,
      downWords: down.parts[0].words,
      downScales: down.parts[0].scales,
    },
    {
      bits: gate.bits,
      width: gate.columns,
      hidden: gate.rows,
      outWidth: down.rows,
    } satisfies QuantizedMlpAttrs,
  );
}

const ensureKernels = kernelRegistrar({
  cpu: GATED_MLP_CPU,
  wasm: GATED_MLP_WASM,
  webgpu: GATED_MLP_WEBGPU,
  gradients: { [QUANTIZED_GATED_MLP]: { inputs: QUANTIZED_MLP_INPUTS, of: quantizedGradient } },
});

function quantizedGradient(dy: Tensor, saved: readonly Tensor[], attrs: object) {
  const [x, gateWords, gateScales, upWords, upScales, downWords, downScales] = saved;
  const sizes = attrs as QuantizedMlpAttrs;
  const [into, outOf] = [intoHidden(sizes), outOfHidden(sizes)];
  const gate = { words: gateWords, scales: gateScales };
  const up = { words: upWords, scales: upScales };
  const down = { words: downWords, scales: downScales };
  return {
    x: () => {
      const flat = tf.reshape(x, [-1, sizes.width]);
      const slope = tf.reshape(dy, [-1, sizes.outWidth]);
      const dHidden = runKernel(MATMUL_TRANSPOSED, { x: slope, ...down }, outOf);
      const [dGate, dUp] = gatedGeluGradients(
        runKernel(MATMUL, { x: flat, ...gate }, into),
        runKernel(MATMUL, { x: flat, ...up }, into),
        dHidden,
      );
      const dx = tf.add(
        runKernel(MATMUL_TRANSPOSED, { x: dGate, ...gate }, into),
        runKernel(MATMUL_TRANSPOSED, { x: dUp, ...up }, into),
      );
      return tf.reshape(dx, x.shape);
    },
  };
}
