/**
 * The gated MLP over weights in few bits for tfjs's WebGPU backend.
 *
 * Few rows of x: a workgroup makes one hidden number, both products and gelu, so that x is read once and
 * two dispatches do for what takes four. Many rows: the products are those of their own kernel.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import {
  intoHidden,
  outOfHidden,
  outputOf,
  QUANTIZED_GATED_MLP,
  type QuantizedMlpArgs,
} from "./gated_mlp_kernel.ts";
import { gatedGeluOnGpu, GELU_WGSL } from "./gelu_webgpu.ts";
import type { QuantizedAttrs } from "./quantized_kernel.ts";
import { MAX_VECTOR_ROWS, multiplyOnGpu } from "./quantized_webgpu.ts";
import type { KernelTable } from "./register_kernels.ts";
import { GROUP_ID, groupSum, makeProgram, type WebgpuBackend } from "./webgpu_backend.ts";

/** The kernel by its name. */
export const GATED_MLP_WEBGPU: KernelTable = { [QUANTIZED_GATED_MLP]: gatedMlp };

/** Of a workgroup. */
const THREADS = 64;

function gatedMlp({ inputs, attrs, backend }: QuantizedMlpArgs<WebgpuBackend>): TensorInfo {
  const { downWords: words, downScales: scales } = inputs;
  const { rows, shape } = outputOf(inputs.x, attrs.outWidth);
  // A view of the same numbers: the products know rows alone.
  const x = { ...inputs.x, shape: [rows, attrs.width] };
  const hidden = rows <= MAX_VECTOR_ROWS
    ? hiddenOfFew({ ...inputs, x }, attrs, backend)
    : hiddenOfMany({ ...inputs, x }, attrs, backend);
  const out = multiplyOnGpu(backend, { x: hidden, words, scales }, outOfHidden(attrs));
  backend.disposeData(hidden.dataId);
  return { ...out, shape };
}

type Args = QuantizedMlpArgs<WebgpuBackend>;

function hiddenOfMany(inputs: Args["inputs"], attrs: Args["attrs"], backend: WebgpuBackend) {
  const { x, gateWords, gateScales, upWords, upScales } = inputs;
  const size = intoHidden(attrs);
  const gate = multiplyOnGpu(backend, { x, words: gateWords, scales: gateScales }, size);
  const up = multiplyOnGpu(backend, { x, words: upWords, scales: upScales }, size);
  const hidden = gatedGeluOnGpu(backend, gate, up);
  backend.disposeData(gate.dataId);
  backend.disposeData(up.dataId);
  return hidden;
}

function hiddenOfFew(inputs: Args["inputs"], attrs: Args["attrs"], backend: WebgpuBackend) {
  const { x, gateWords, gateScales, upWords, upScales } = inputs;
  const { bits, columns, rowCount } = intoHidden(attrs);
  const [rows] = x.shape;
  const program = makeProgram({
    name: `gatedHidden${bits}`,
    outputShape: [rows, rowCount],
    groups: rows * rowCount,
    workgroupSize: [THREADS, 1, 1],
    inputs: { x: 1, gateWords: 4, gateScales: 1, upWords: 4, upScales: 1 },
    uniforms: "rows : i32, columns : i32, hidden : i32,",
    code: hiddenCode(bits),
  });
  const tensors = [x, gateWords, gateScales, upWords, upScales];
  const uniforms = [rows, columns, rowCount].map((n) => ({ type: "int32" as const, data: [n] }));
  return backend.runWebGPUProgram(program, tensors, "float32", uniforms);
}

/** A group of 32 numbers a thread, in both matrices at once. */
function hiddenCode(bits: QuantizedAttrs["bits"]): string {
  const perWord = 32 / bits;
  const vectors = bits / 4; // of four words, in a group
  const scale = (scales: string) => `
    let pair = unpack2x16float(u32(${scales}[row * ((groups + 1) / 2) + group / 2]));
    return select(pair.x, pair.y, (group & 1) == 1);`;
  return `
  ${GROUP_ID}
  ${groupSum(THREADS)}
  ${GELU_WGSL}
  fn gateScale(row : i32, group : i32, groups : i32) -> f32 { ${scale("gateScales")} }
  fn upScale(row : i32, group : i32, groups : i32) -> f32 { ${scale("upScales")} }
  fn main(index : i32) {
    let id = groupId();
    // More workgroups than outputs may run. All of one agree, so its barriers stay uniform.
    let isUsed = id < uniforms.hidden * uniforms.rows;
    let output = select(0, id, isUsed);
    let m = output / uniforms.hidden;
    let row = output % uniforms.hidden;
    let groups = (uniforms.columns + 31) / 32;
    var gate = 0.0;
    var up = 0.0;
    for (var group = i32(localId.x); group < groups; group += ${THREADS}) {
      var gatePart = 0.0;
      var upPart = 0.0;
      var k = group * 32;
      for (var v = 0; v < ${vectors}; v++) {
        let gates = gateWords[(row * groups + group) * ${vectors} + v];
        let ups = upWords[(row * groups + group) * ${vectors} + v];
        for (var w = 0; w < 4; w++) {
          for (var j = 0u; j < ${perWord}u; j++) {
            if (k < uniforms.columns) {
              let value = x[m * uniforms.columns + k];
              gatePart += value * f32(extractBits(gates[w], j * ${bits}u, ${bits}u));
              upPart += value * f32(extractBits(ups[w], j * ${bits}u, ${bits}u));
            }
            k++;
          }
        }
      }
      gate += gatePart * gateScale(row, group, groups);
      up += upPart * upScale(row, group, groups);
    }
    let gateSum = sumOfGroup(gate);
    let upSum = sumOfGroup(up);
    if (localId.x == 0u && isUsed) { result[output] = gelu(gateSum) * upSum; }
  }`;
}
