/**
 * Attention over a cache for tfjs's WebGPU backend.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import {
  ATTENTION,
  ATTENTION_GRADIENT,
  type AttentionArgs,
  type AttentionGradientArgs,
  type AttentionSizes,
  attentionSizes,
  CACHE_WRITE,
  type CacheWriteArgs,
} from "./attention_kernel.ts";
import {
  attentionCode,
  columnsOf,
  gradientCode,
  rowStatsCode,
  THREADS,
  UNIFORMS,
} from "./attention_wgsl.ts";
import type { KernelTable } from "./register_kernels.ts";
import {
  makeProgram,
  type ProgramParts,
  type Uniform,
  type WebgpuBackend,
} from "./webgpu_backend.ts";

/** Up to so many rows of queries have a workgroup each, of more eight share one. */
const MAX_SINGLE_ROWS = 64;
const SHARED_ROWS = 8;
/** Widest head of which a thread can hold eight rows' sums in registers. */
const MAX_SHARED_WIDTH = 256;

/** The kernels by their names. */
export const ATTENTION_WEBGPU: KernelTable = {
  [ATTENTION]: attention,
  [ATTENTION_GRADIENT]: attentionGradient,
  [CACHE_WRITE]: cacheWrite,
};

const INPUTS = { q: 1, k: 1, v: 1, mask: 1 };

function uniformsOf(sizes: AttentionSizes): Uniform[] {
  const { batch, places, heads, keys, capacity, width } = sizes;
  const { maskBatchStride, maskPlaceStride } = sizes;
  return [batch, places * heads, heads, keys, capacity, width, maskBatchStride, maskPlaceStride]
    .map((n) => ({ type: "int32", data: [n] }));
}

function programOf(
  parts: Pick<ProgramParts, "name" | "outputShape" | "groups" | "inputs" | "code">,
) {
  return makeProgram({ workgroupSize: [THREADS, 1, 1], uniforms: UNIFORMS, ...parts });
}

function attention({ inputs, attrs, backend }: AttentionArgs<WebgpuBackend>): TensorInfo {
  const { q, k, v, mask } = inputs;
  const sizes = attentionSizes(inputs, attrs);
  const { batch, places, heads, width } = sizes;
  const rows = places * heads;
  const columns = columnsOf(width);
  const isShared = batch * rows > MAX_SINGLE_ROWS && width <= MAX_SHARED_WIDTH;
  const together = isShared ? SHARED_ROWS : 1;
  const program = programOf({
    name: `attention${together}x${columns}`,
    outputShape: q.shape,
    groups: batch * Math.ceil(rows / together),
    inputs: INPUTS,
    code: attentionCode(columns, together),
  });
  return backend.runWebGPUProgram(program, [q, k, v, mask], "float32", uniformsOf(sizes));
}

function attentionGradient(args: AttentionGradientArgs<WebgpuBackend>): TensorInfo[] {
  const { inputs: { q, k, v, mask, dy }, attrs, backend } = args;
  const sizes = attentionSizes(args.inputs, attrs);
  const { batch, places, heads, width, capacity } = sizes;
  const rows = batch * places * heads;
  const columns = columnsOf(width);
  const uniforms = uniformsOf(sizes);
  const given = [q, k, v, mask, dy];
  const statsProgram = programOf({
    name: "attentionRowStats",
    outputShape: [rows, 3],
    groups: rows,
    inputs: { ...INPUTS, dy: 1 },
    code: rowStatsCode(),
  });
  const stats = backend.runWebGPUProgram(statsProgram, given, "float32", uniforms);
  const run = (of: "q" | "k" | "v", like: TensorInfo, groups: number) => {
    // A binding that the code does not use is none: what is given must be what is used.
    const used = { q, k, ...(of !== "v" && { v }), mask, dy, stats };
    const program = programOf({
      name: `attentionGradient${of}${columns}`,
      outputShape: like.shape,
      groups,
      inputs: Object.fromEntries(Object.keys(used).map((name) => [name, 1])),
      code: gradientCode(of, columns),
    });
    return backend.runWebGPUProgram(program, Object.values(used), "float32", uniforms);
  };
  const gradients = [
    run("q", q, rows),
    run("k", k, batch * capacity),
    run("v", v, batch * capacity),
  ];
  backend.disposeData(stats.dataId);
  return gradients;
}

function cacheWrite({ inputs, attrs, backend }: CacheWriteArgs<WebgpuBackend>): TensorInfo[] {
  const { cache, x } = inputs;
  const [batch, capacity, width] = cache.shape;
  const program = makeProgram({
    name: "cacheWrite",
    outputShape: cache.shape,
    groups: Math.ceil(batch * width / THREADS),
    workgroupSize: [THREADS, 1, 1],
    inputs: { x: 1 },
    uniforms: "count : i32, capacity : i32, width : i32, position : i32,",
    code: `
  fn main(index : i32) {
    if (index >= uniforms.count) { return; }
    let row = index / uniforms.width;
    let to = (row * uniforms.capacity + uniforms.position) * uniforms.width;
    result[to + index % uniforms.width] = x[index];
  }`,
  });
  const uniforms = [batch * width, capacity, width, attrs.position]
    .map((n): Uniform => ({ type: "int32", data: [n] }));
  backend.runWebGPUProgram(program, [x], "float32", uniforms, cache);
  // A copy that was read before is no longer what the GPU holds.
  backend.tensorMap.get(cache.dataId).values = null;
  return [];
}
