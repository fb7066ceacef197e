/**
 * Kernels over quantised weights for tfjs's WebAssembly backend.
 *
 * The product takes two rows of the weights at a time, dequantises them into a scratch that stays in the
 * processor's nearest cache, and multiplies all rows of the input by it. Its gradient lets XNNPACK
 * multiply by panels of the weights. Neither has more than that of them in float32.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import { GROUP_SIZE } from "../quant/group_scale.ts";
import { rowWords } from "../quant/packed_matrix.ts";
import {
  GATHER,
  type GatherArgs,
  MATMUL,
  MATMUL_TRANSPOSED,
  type MatMulArgs,
  type QuantizedAttrs,
} from "./quantized_kernel.ts";
import { quantizedLoops, SCRATCH_ROWS } from "./quantized_simd.ts";
import type { KernelTable } from "./register_kernels.ts";
import { floatsOf, multiplyRanges, offsetOf, type WasmBackend } from "./wasm_backend.ts";

/** Numbers of a panel: 1 MiB, which a core's cache holds. */
const PANEL_NUMBERS = 1 << 18;

/** The kernels by their names. */
export const QUANTIZED_WASM: KernelTable = {
  [MATMUL]: matMul,
  [MATMUL_TRANSPOSED]: matMulTransposed,
  [GATHER]: gather,
};

/** Where rows of the weights lie: byte offsets and strides. */
function placesOf(
  backend: WasmBackend,
  inputs: { readonly words: TensorInfo; readonly scales: TensorInfo },
  { bits, columns }: QuantizedAttrs,
) {
  const width = rowWords(bits, columns);
  const words = offsetOf(backend, inputs.words);
  const scales = offsetOf(backend, inputs.scales);
  return {
    groups: Math.ceil(columns / GROUP_SIZE),
    scaleStride: 4 * width.scales,
    words: (row: number) => words + 4 * row * width.values,
    scales: (row: number) => scales + 4 * row * width.scales,
  };
}

function matMul({ inputs, attrs, backend }: MatMulArgs<WasmBackend>): TensorInfo {
  const [m] = inputs.x.shape;
  const out = backend.makeOutput([m, attrs.rowCount], "float32");
  multiplyInto(backend, inputs, attrs, m, out);
  return out;
}

/**
 * x · Wᵀ into a tensor that is there.
 * @param inputs x, m rows of K numbers, and the packed weights.
 * @param m Rows of x.
 * @param out Room for m rows of `rowCount` numbers.
 */
export function multiplyInto(
  backend: WasmBackend,
  inputs: MatMulArgs<WasmBackend>["inputs"],
  attrs: QuantizedAttrs,
  m: number,
  out: TensorInfo,
): void {
  const { bits, columns, firstRow, rowCount } = attrs;
  const { groups, scaleStride, words, scales } = placesOf(backend, inputs, attrs);
  const scratch = backend.makeOutput([SCRATCH_ROWS * groups * GROUP_SIZE], "float32");
  quantizedLoops(backend.wasm.asm.memory).multiply(bits, {
    x: offsetOf(backend, inputs.x),
    m,
    columns,
    words: words(firstRow),
    scales: scales(firstRow),
    scaleStride,
    rows: rowCount,
    scratch: offsetOf(backend, scratch),
    y: offsetOf(backend, out),
  });
  backend.disposeData(scratch.dataId);
}

function matMulTransposed(args: MatMulArgs<WasmBackend>): TensorInfo {
  const { inputs, attrs, backend } = args;
  const { bits, columns, firstRow, rowCount } = attrs;
  const [m] = inputs.x.shape;
  const out = backend.makeOutput([m, columns], "float32");
  const { groups, words, scales } = placesOf(backend, inputs, attrs);
  const { unpack } = quantizedLoops(backend.wasm.asm.memory);
  const wanted = Math.max(1, Math.floor(PANEL_NUMBERS / rowCount / GROUP_SIZE));
  const panelGroups = Math.min(groups, wanted);
  const isOnePanel = panelGroups === groups;
  const width = Math.min(columns, panelGroups * GROUP_SIZE);
  // A row is unpacked with its last group whole, over what the next row then writes.
  const panel = backend.makeOutput([rowCount * width + GROUP_SIZE], "float32");
  const part = isOnePanel ? out : backend.makeOutput([m * width], "float32");
  for (let group = 0; group < groups; group += panelGroups) {
    const first = group * GROUP_SIZE;
    const count = Math.min(width, columns - first);
    const used = Math.ceil(count / GROUP_SIZE);
    for (let n = 0; n < rowCount; n++) {
      const from = words(firstRow + n) + group * GROUP_SIZE * bits / 8;
      const to = offsetOf(backend, panel) + 4 * n * count;
      unpack(bits, from, scales(firstRow + n) + 2 * group, used, to);
    }
    multiplyRanges(
      backend,
      { offset: offsetOf(backend, inputs.x), rows: m, columns: rowCount },
      { offset: offsetOf(backend, panel), rows: rowCount, columns: count },
      offsetOf(backend, part),
    );
    if (isOnePanel) break;
    // Taken after the product, which may have grown the memory.
    const from = floatsOf(backend, part);
    const to = floatsOf(backend, out);
    for (let i = 0; i < m; i++) {
      to.set(from.subarray(i * count, (i + 1) * count), i * columns + first);
    }
  }
  if (!isOnePanel) backend.disposeData(part.dataId);
  backend.disposeData(panel.dataId);
  return out;
}

function gather({ inputs, attrs, backend }: GatherArgs<WasmBackend>): TensorInfo {
  const { bits, columns } = attrs;
  const [count] = inputs.ids.shape;
  const out = backend.makeOutput([count, columns], "float32");
  const { groups, words, scales } = placesOf(backend, inputs, attrs);
  const row = backend.makeOutput([groups * GROUP_SIZE], "float32");
  const { unpack } = quantizedLoops(backend.wasm.asm.memory);
  const ids = backend.typedArrayFromHeap(inputs.ids);
  const from = floatsOf(backend, row).subarray(0, columns);
  const to = floatsOf(backend, out);
  ids.forEach((id, i) => {
    unpack(bits, words(id), scales(id), groups, offsetOf(backend, row));
    to.set(from, i * columns);
  });
  backend.disposeData(row.dataId);
  return out;
}
