/**
 * Adapters (LoRA): x·A·B beside a product. A dispatch in front of the product computes the few numbers
 * of x·A; the product's epilogue multiplies them with B and adds what comes of it to its outputs.
 *
 * Both factors lie as checkpoints have them, so that an update is a copy. A product may serve several
 * segments with an adapter each: the heads of a query, gate and up.
 *
 * Letters: C columns of the product, G segments, R rank, W outputs of a segment, P parts of a sum.
 *
 * @module
 */

import { defineKernel, type Fragment, type Kernel } from "../kernel.ts";
import { NORM_EPSILON } from "../../policy/variants.ts";
import { paddedColumns } from "../packed_rows.ts";
import { binding, f32, PLACES, STATE, text } from "./shared.ts";

/** Sizes of the adapter of a product. */
export interface AdapterSize {
  /** C. */
  readonly columns: number;
  /** G. */
  readonly segments: number;
  /** R, a multiple of 4. */
  readonly rank: number;
  /** W. */
  readonly width: number;
  /** What x·A·B is multiplied with. */
  readonly scale: number;
}

/** Tokens of a workgroup of a prefill: each number of A that it has read serves them all. */
export const ADAPTER_TOKENS = 8;

/** Greatest R that the kernels can divide among their threads. */
export const MOST_RANK = 256;

/** Most threads of a workgroup. */
const THREADS = 256;
/** A workgroup alone cannot read fast: one vector's sum is cut into pieces of so many columns… */
const PART_COLUMNS = 512;
/** …but into no more than this, since every output adds them up. */
const MOST_PARTS = 8;

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/**
 * P of one vector.
 * @param size C.
 */
export function adapterParts({ columns }: Pick<AdapterSize, "columns">): number {
  return Math.min(MOST_PARTS, Math.ceil(columns / PART_COLUMNS));
}

/** How a workgroup is divided: `rows` columns at a time, R / 4 threads each. */
function threadsOf({ rank }: AdapterSize): { rows: number; threads: number } {
  const rows = 2 ** Math.floor(Math.log2(THREADS / (rank / 4)));
  return { rows, threads: rows * rank / 4 };
}

function constants(size: AdapterSize): string {
  return `const COLUMNS = ${size.columns}u;
const SEGMENTS = ${size.segments}u;
const RANK4 = ${size.rank / 4}u;
const ROWS = ${threadsOf(size).rows}u;`;
}

/**
 * x·A of one token. It binds `state`, `x` (`[C padded]`), `lora_a` (`[G, C, R]`), with `isNormed` also
 * `norm` (`[C padded]`), and writes `lora_low`, `[G, P, R]`, whose parts are to be added up.
 *
 * @param size The adapter.
 * @param isNormed Normalise the vector first, as the product does.
 * @returns The kernel; run P × G workgroups.
 */
export function adapterLowKernel(size: AdapterSize, isNormed: boolean): Kernel {
  const { rows, threads } = threadsOf(size);
  const parts = adapterParts(size);
  const normedCode = `
  var square = 0.0;
  for (var c = lane; c < COLUMNS; c += ${threads}u) { square += x[c] * x[c]; }
  squares[lane] = square;`;
  const body = `
${constants(size)}
const RUN = ${Math.ceil(size.columns / parts)}u;
var<workgroup> sums: array<vec4<f32>, ${threads}>;
${isNormed ? `var<workgroup> squares: array<f32, ${threads}>;` : ""}
@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  if (state.is_done != 0u) { return; }
  let quad = lane % RANK4;
  let end = min((group.x + 1u) * RUN, COLUMNS);
  var sum = vec4<f32>();
  for (var c = group.x * RUN + lane / RANK4; c < end; c += ROWS) {
    let a = lora_a[(group.y * COLUMNS + c) * RANK4 + quad];
    sum += ${isNormed ? "x[c] * (1.0 + norm[c])" : "x[c]"} * a;
  }
  sums[lane] = sum;
  ${isNormed ? normedCode : ""}
  workgroupBarrier();
  for (var half = ${rows / 2}u; half > 0u; half >>= 1u) {
    if (lane < half * RANK4) {
      sums[lane] += sums[lane + half * RANK4];
      ${isNormed ? "squares[lane] += squares[lane + half * RANK4];" : ""}
    }
    workgroupBarrier();
  }
  if (lane < RANK4) {
    var factor = 1.0;
    ${
    isNormed
      ? `var total = 0.0;
    for (var i = 0u; i < RANK4; i++) { total += squares[i]; }
    factor = inverseSqrt(total / f32(COLUMNS) + ${NORM_EPSILON});`
      : ""
  }
    lora_low[(group.y * ${parts}u + group.x) * RANK4 + lane] = sums[lane] * factor;
  }
}`;
  return defineKernel("adapter low", [
    STATE,
    binding("x", "read", "array<f32>"),
    ...(isNormed ? [binding("norm", "read", "array<f32>")] : []),
    binding("lora_a", "read", "array<vec4<f32>>"),
    binding("lora_low", "read_write", "array<vec4<f32>>"),
    text(body),
  ]);
}

/**
 * x·A of all tokens of a prefill. It binds `places`, `x` (`[T, C padded]`, already normalised where it
 * has to be), `lora_a` (`[G, C, R]`) and writes `lora_low`, `[T, G, R]`.
 *
 * @param size The adapter.
 * @returns The kernel; run ⌈T / {@link ADAPTER_TOKENS}⌉ × G workgroups.
 */
export function adapterLowPrefixKernel(size: AdapterSize): Kernel {
  const { rows, threads } = threadsOf(size);
  const tokens = range(ADAPTER_TOKENS);
  const body = `
${constants(size)}
var<workgroup> sums: array<vec4<f32>, ${threads}>;
@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let quad = lane % RANK4;
  let first = group.x * ${ADAPTER_TOKENS}u;
  ${
    tokens.map((i) =>
      `var sum${i} = vec4<f32>();
  let row${i} = min(first + ${i}u, places.tokens - 1u) * ${paddedColumns(size.columns)}u;`
    ).join("\n  ")
  }
  for (var c = lane / RANK4; c < COLUMNS; c += ROWS) {
    let a = lora_a[(group.y * COLUMNS + c) * RANK4 + quad];
    ${tokens.map((i) => `sum${i} += x[row${i} + c] * a;`).join("\n    ")}
  }
  var of_token = array<vec4<f32>, ${ADAPTER_TOKENS}>(${tokens.map((i) => `sum${i}`).join(", ")});
  for (var i = 0u; i < ${ADAPTER_TOKENS}u; i++) {
    sums[lane] = of_token[i];
    workgroupBarrier();
    for (var half = ${rows / 2}u; half > 0u; half >>= 1u) {
      if (lane < half * RANK4) { sums[lane] += sums[lane + half * RANK4]; }
      workgroupBarrier();
    }
    if (lane < RANK4 && first + i < places.tokens) {
      lora_low[((first + i) * SEGMENTS + group.y) * RANK4 + lane] = sums[lane];
    }
    workgroupBarrier();
  }
}`;
  return defineKernel("adapter low, prefix", [
    PLACES,
    binding("x", "read", "array<f32>"),
    binding("lora_a", "read", "array<vec4<f32>>"),
    binding("lora_low", "read_write", "array<vec4<f32>>"),
    text(body),
  ]);
}

/**
 * What an epilogue adds to a row: `adapted(t, segment, element)`, output `element` of a segment.
 *
 * @param size The adapter.
 * @param parts P of what `lora_low` holds: {@link adapterParts} of one vector, 1 of a prefill.
 * @returns The fragment; binds `lora_low` (`[T, G, P, R]`) and `lora_b` (`[G, R, W]`).
 */
export function adapterFragment(size: AdapterSize, parts: number): Fragment {
  const { segments, rank, width, scale } = size;
  return {
    bindings: [
      { name: "lora_low", access: "read", type: "array<vec4<f32>>" },
      { name: "lora_b", access: "read", type: "array<f32>" },
    ],
    code: `
fn adapted(t: u32, segment: u32, element: u32) -> f32 {
  var sum = 0.0;
  // The rank as the buffer tells it: a driver that knew it would unroll this loop for every output of
  // a tile, and compile for minutes.
  let quads = arrayLength(&lora_b) / ${4 * segments * width}u;
  for (var r = 0u; r < quads; r++) {
    var factor = vec4<f32>();
    for (var part = 0u; part < ${parts}u; part++) {
      factor += lora_low[((t * ${segments}u + segment) * ${parts}u + part) * ${rank / 4}u + r];
    }
    let at = (segment * ${rank}u + 4u * r) * ${width}u + element;
    sum += dot(factor, vec4<f32>(
      lora_b[at], lora_b[at + ${width}u], lora_b[at + ${2 * width}u], lora_b[at + ${3 * width}u]));
  }
  return sum * ${f32(scale)};
}`,
  };
}
