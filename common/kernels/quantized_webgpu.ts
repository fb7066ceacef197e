/**
 * Kernels over quantised weights for tfjs's WebGPU backend.
 *
 * Few rows of input: a workgroup takes one row of the weights and its threads share out the groups. Many:
 * a workgroup makes a tile of 32 × 32 outputs from tiles in shared memory, 32 numbers of the summed
 * axis at a time, which is one group of the weights.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import {
  GATHER,
  type GatherArgs,
  MATMUL,
  MATMUL_TRANSPOSED,
  type MatMulArgs,
  type QuantizedAttrs,
} from "./quantized_kernel.ts";
import type { KernelTable } from "./register_kernels.ts";
import { GROUP_ID, makeProgram, type Uniform, type WebgpuBackend } from "./webgpu_backend.ts";

/** Up to so many rows of input have a workgroup for each row of the weights. */
export const MAX_VECTOR_ROWS = 8;
const VECTOR_THREADS = 64;
const GATHER_THREADS = 64;
/** The packed weights: integers as vectors of four words. */
const WEIGHTS = { words: 4, scales: 1 };
const UNIFORMS = "columns : i32, firstRow : i32, rowCount : i32,";
/** Side of a tile, and numbers of a group. */
const TILE = 32;

/** The kernels by their names. */
export const QUANTIZED_WEBGPU: KernelTable = {
  [MATMUL]: matMul,
  [MATMUL_TRANSPOSED]: matMulTransposed,
  [GATHER]: gather,
};

function matMul({ inputs, attrs, backend }: MatMulArgs<WebgpuBackend>): TensorInfo {
  return multiplyOnGpu(backend, inputs, attrs);
}

/** x · Wᵀ as a new tensor, for kernels that do it on the way. */
export function multiplyOnGpu(
  backend: WebgpuBackend,
  { x, words, scales }: MatMulArgs<WebgpuBackend>["inputs"],
  attrs: QuantizedAttrs,
): TensorInfo {
  const [m] = x.shape;
  const shape = [m, attrs.rowCount];
  const isVector = m <= MAX_VECTOR_ROWS;
  const program = makeProgram({
    name: `${isVector ? "quantizedVector" : "quantizedTile"}${attrs.bits}`,
    outputShape: shape,
    groups: isVector ? m * attrs.rowCount : tiles(m) * tiles(attrs.rowCount),
    workgroupSize: isVector ? [VECTOR_THREADS, 1, 1] : [TILE / 4, TILE / 4, 1],
    inputs: { x: 1, ...WEIGHTS },
    uniforms: UNIFORMS,
    code: isVector ? vectorCode(attrs.bits) : tileCode(attrs.bits, false),
  });
  return backend.runWebGPUProgram(program, [x, words, scales], "float32", uniformsOf(attrs));
}

function matMulTransposed({ inputs, attrs, backend }: MatMulArgs<WebgpuBackend>): TensorInfo {
  const { x, words, scales } = inputs;
  const [m] = x.shape;
  const program = makeProgram({
    name: `quantizedTileTransposed${attrs.bits}`,
    outputShape: [m, attrs.columns],
    groups: tiles(m) * tiles(attrs.columns),
    workgroupSize: [TILE / 4, TILE / 4, 1],
    inputs: { x: 1, ...WEIGHTS },
    uniforms: UNIFORMS,
    code: tileCode(attrs.bits, true),
  });
  return backend.runWebGPUProgram(program, [x, words, scales], "float32", uniformsOf(attrs));
}

function gather({ inputs, attrs, backend }: GatherArgs<WebgpuBackend>): TensorInfo {
  const { ids, words, scales } = inputs;
  const [count] = ids.shape;
  const program = makeProgram({
    name: `quantizedGather${attrs.bits}`,
    outputShape: [count, attrs.columns],
    groups: Math.ceil(count * attrs.columns / GATHER_THREADS),
    workgroupSize: [GATHER_THREADS, 1, 1],
    inputs: { ids: 1, ...WEIGHTS },
    uniforms: UNIFORMS,
    code: gatherCode(attrs.bits),
  });
  return backend.runWebGPUProgram(program, [ids, words, scales], "float32", uniformsOf(attrs));
}

const tiles = (n: number) => Math.ceil(n / TILE);

function uniformsOf({ columns, firstRow, rowCount }: QuantizedAttrs): Uniform[] {
  return [columns, firstRow, rowCount].map((n) => ({ type: "int32", data: [n] }));
}

/** Scale of a group, and number of groups in a row. */
const SCALES = `
  fn groupCount() -> i32 { return (uniforms.columns + 31) / 32; }
  fn scaleOf(row : i32, group : i32) -> f32 {
    let pair = unpack2x16float(u32(scales[row * ((groupCount() + 1) / 2) + group / 2]));
    return select(pair.x, pair.y, (group & 1) == 1);
  }`;

/** Number j, 0…31, of a group: \`integerOf(row, group, j)\`. */
function integers(bits: number): string {
  const perWord = 32 / bits;
  const vectors = bits / 4; // of four words, in a group
  return `
  fn integerOf(row : i32, group : i32, j : i32) -> f32 {
    let word = j / ${perWord};
    let four = words[(row * groupCount() + group) * ${vectors} + word / 4];
    return f32(extractBits(four[word % 4], u32(j % ${perWord}) * ${bits}u, ${bits}u));
  }`;
}

function vectorCode(bits: number): string {
  const perWord = 32 / bits;
  const vectors = bits / 4;
  return `
  ${GROUP_ID}
  ${SCALES}
  var<workgroup> parts : array<f32, ${VECTOR_THREADS}>;
  fn main(index : i32) {
    let id = groupId();
    // More workgroups than outputs may run. All of one agree, so its barriers stay uniform.
    let isUsed = id < uniforms.rowCount * uniforms.xShape.x;
    let output = select(0, id, isUsed);
    let m = output / uniforms.rowCount;
    let row = uniforms.firstRow + output % uniforms.rowCount;
    let groups = groupCount();
    var sum = 0.0;
    for (var group = i32(localId.x); group < groups; group += ${VECTOR_THREADS}) {
      var part = 0.0;
      var k = group * 32;
      for (var v = 0; v < ${vectors}; v++) {
        let four = words[(row * groups + group) * ${vectors} + v];
        for (var w = 0; w < 4; w++) {
          let word = four[w];
          for (var j = 0u; j < ${perWord}u; j++) {
            if (k < uniforms.columns) {
              part += x[m * uniforms.columns + k] *
                f32(extractBits(word, j * ${bits}u, ${bits}u));
            }
            k++;
          }
        }
      }
      sum += part * scaleOf(row, group);
    }
    parts[localId.x] = sum;
    workgroupBarrier();
    for (var half = ${VECTOR_THREADS / 2}u; half > 0u; half /= 2u) {
      if (localId.x < half) { parts[localId.x] += parts[localId.x + half]; }
      workgroupBarrier();
    }
    if (localId.x == 0u && isUsed) { result[output] = parts[0]; }
  }`;
}

/**
 * Outputs \`[M, N]\` from x \`[M, K]\` or, transposed, \`[M, K]\` from x \`[M, N]\`. Each of the 64 threads
 * makes 4 × 4 outputs and loads 16 numbers of both tiles.
 */
function tileCode(bits: number, isTransposed: boolean): string {
  const outputs = isTransposed ? "uniforms.columns" : "uniforms.rowCount";
  const inner = isTransposed ? "uniforms.rowCount" : "uniforms.columns";
  // The tile of weights has rows of W down and one group across, whichever axis is summed over.
  const weight = isTransposed ? "[i][4 * tx + b]" : "[4 * tx + b][i]";
  return `
  ${GROUP_ID}
  ${SCALES}
  ${integers(bits)}
  var<workgroup> xTile : array<array<f32, ${TILE}>, ${TILE}>;
  var<workgroup> wTile : array<array<f32, ${TILE}>, ${TILE}>;
  fn main(index : i32) {
    let across = (${outputs} + ${TILE - 1}) / ${TILE};
    let id = groupId();
    let firstM = (id / across) * ${TILE};
    let firstOut = (id % across) * ${TILE};
    let tx = i32(localId.x);
    let ty = i32(localId.y);
    let line = i32(localIndex) / 2;
    let begin = (i32(localIndex) % 2) * 16;
    var sums : array<array<f32, 4>, 4>;
    for (var at = 0; at < ${inner}; at += ${TILE}) {
      let row = ${isTransposed ? "at" : "firstOut"} + line;
      let group = ${isTransposed ? "firstOut" : "at"} / 32;
      let isRow = row < uniforms.rowCount;
      let scale = select(0.0, scaleOf(uniforms.firstRow + min(row, uniforms.rowCount - 1), group), isRow);
      for (var j = begin; j < begin + 16; j++) {
        wTile[line][j] = scale *
          integerOf(uniforms.firstRow + min(row, uniforms.rowCount - 1), group, j);
        let m = firstM + line;
        let k = at + j;
        let isThere = m < uniforms.xShape.x && k < ${inner};
        xTile[line][j] = select(0.0, x[select(0, m * ${inner} + k, isThere)], isThere);
      }
      workgroupBarrier();
      for (var i = 0; i < ${TILE}; i++) {
        for (var a = 0; a < 4; a++) {
          let left = xTile[4 * ty + a][i];
          for (var b = 0; b < 4; b++) { sums[a][b] += left * wTile${weight}; }
        }
      }
      workgroupBarrier();
    }
    for (var a = 0; a < 4; a++) {
      for (var b = 0; b < 4; b++) {
        let m = firstM + 4 * ty + a;
        let o = firstOut + 4 * tx + b;
        if (m < uniforms.xShape.x && o < ${outputs}) { result[m * ${outputs} + o] = sums[a][b]; }
      }
    }
  }`;
}

function gatherCode(bits: number): string {
  return `
  ${SCALES}
  ${integers(bits)}
  fn main(index : i32) {
    if (index >= uniforms.idsShape * uniforms.columns) { return; }
    let row = ids[index / uniforms.columns];
    let k = index % uniforms.columns;
    result[index] = scaleOf(row, k / 32) * integerOf(row, k / 32, k % 32);
  }`;
}
