/**
 * Product of a packed matrix with one vector, RMSNorm in front and an epilogue behind: the kernel that
 * decoding spends its time in.
 *
 * It is bound by reading the weights, each byte once. A workgroup takes a few rows and its threads walk
 * their columns together, 16 bytes a step, so that the loads of neighbours lie side
 * by side; the slice of the vector that a thread has read serves all of its rows. RMSNorm needs
 * no pass of its own: Σx² is summed along with the products and divides them at the end.
 *
 * There is no kernel of half precision or of dot products of bytes beside it, because arithmetic is not
 * what it waits for: a weight takes one conversion and one multiply-add, so an H100 that reads 3.3 · 10¹²
 * 8-bit weights a second spends a tenth of its 67 · 10¹² operations on the products, a 4090 less.
 *
 * @module
 */

import { defineKernel, type Fragment, type Kernel } from "../kernel.ts";
import { paddedColumns, type WeightBits } from "../packed_rows.ts";
import { NORM_EPSILON } from "../../policy/variants.ts";
import { binding, matrixVectors, SHARD, STATE, text } from "./shared.ts";

/** What a tuner may choose. */
export interface MatvecShape {
  /** Most threads of a workgroup, a power of 2: a short row takes no more than read it at once. */
  readonly threads: number;
  /** Rows of a workgroup, even. */
  readonly rows: number;
  /** Add up with subgroup operations; the device must have them. */
  readonly usesSubgroups: boolean;
}

/** Works everywhere. */
export const DEFAULT_MATVEC: MatvecShape = { threads: 128, rows: 4, usesSubgroups: false };

/** What the kernel computes. */
export interface MatvecOptions {
  /** Its name in error messages. */
  readonly label: string;
  /** Bits of a weight. */
  readonly bits: WeightBits;
  /** C. */
  readonly columns: number;
  /** Normalise the vector first: binds `norm`, `[C padded]`. */
  readonly isNormed: boolean;
  /** Keep the normalised vectors of the first so many steps: binds `hidden`, `[n, C]`. */
  readonly keptSteps?: number;
  /** What to do with the outputs. */
  readonly epilogue: readonly Fragment[];
}

/** What GPUs run together at least. */
const FEWEST_THREADS = 32;

/** How often a row is read, 16 bytes each time. */
const loads = (bits: WeightBits, columns: number) => paddedColumns(columns) * bits / 128;
const powerOfTwo = (atLeast: number) => 2 ** Math.ceil(Math.log2(atLeast));
const range = (n: number) => Array.from({ length: n }, (_, i) => i);

function treeReduction(threads: number, sums: number): string {
  return `
  ${range(sums).map((r) => `partial[${r * threads}u + lane] = sum${r};`).join("\n  ")}
  workgroupBarrier();
  for (var half = ${threads / 2}u; half > 0u; half >>= 1u) {
    if (lane < half) {
      ${
    range(sums).map((r) =>
      `partial[${r * threads}u + lane] += partial[${r * threads}u + lane + half];`
    ).join("\n      ")
  }
    }
    workgroupBarrier();
  }
  ${range(sums).map((r) => `let total${r} = partial[${r * threads}];`).join("\n  ")}`;
}

/** Threads of a subgroup add up among themselves; what they leave is few enough for everybody. */
function subgroupReduction(threads: number, sums: number): string {
  return `
  ${range(sums).map((r) => `let part${r} = subgroupAdd(sum${r});`).join("\n  ")}
  if (subgroup_lane == 0u) {
    let slot = lane / subgroup_size;
    ${range(sums).map((r) => `partial[${r * threads}u + slot] = part${r};`).join("\n    ")}
  }
  workgroupBarrier();
  ${range(sums).map((r) => `var total${r} = 0.0;`).join("\n  ")}
  for (var slot = 0u; slot < max(${threads}u / subgroup_size, 1u); slot++) {
    ${range(sums).map((r) => `total${r} += partial[${r * threads}u + slot];`).join("\n    ")}
  }`;
}

/**
 * The kernel. It binds `values`, `scales`, `shard`, `state`, `x` (`[C padded]`, zeros behind C), and
 * what its options and its epilogue say.
 *
 * @param options What it computes.
 * @param shape How the work is divided.
 * @returns The kernel; run ⌈rows of the shard / `shape.rows`⌉ workgroups.
 */
export function matvecKernel(options: MatvecOptions, shape: MatvecShape): Kernel {
  const { bits, columns, isNormed, keptSteps = 0, epilogue } = options;
  const { rows, usesSubgroups } = shape;
  const threads = Math.min(
    shape.threads,
    Math.max(FEWEST_THREADS, powerOfTwo(loads(bits, columns))),
  );
  const sums = isNormed ? rows + 1 : rows;
  const fragments: Fragment[] = [
    matrixVectors({ bits, columns }),
    SHARD,
    STATE,
    binding("x", "read", "array<vec4<f32>>"),
  ];
  if (isNormed) fragments.push(binding("norm", "read", "array<vec4<f32>>"));
  if (keptSteps > 0) fragments.push(binding("hidden", "read_write", "array<f32>"));
  const quads = 32 / bits; // vec4s of the vector that 16 bytes of weights meet
  const normed = (i: number) =>
    `sum${rows} += dot(x${i}, x${i}); x${i} *= 1.0 + norm[chunk * ${quads}u + ${i}u];`;
  const dots = range(quads).map((i) => {
    if (bits === 32) return `dot(w, x${i})`;
    const wordQuads = quads / 4;
    const word = ["x", "y", "z", "w"][Math.floor(i / wordQuads)];
    return `dot(weights4(w.${word}, ${i % wordQuads}u), x${i})`;
  });
  const product = (r: number) =>
    `{
      let row = min(first + ${r}u, shard.rows - 1u);
      let w = values[row * LOADS + chunk];
      sum${r} += scale_of(row, chunk * ${quads}u / 8u) * (${dots.join(" + ")});
    }`;
  const keep = `
  if (group.x == 0u && shard.first == 0u && state.step < ${keptSteps}u) {
    for (var c = lane; c < ${columns}u; c += ${threads}u) {
      let value = x[c / 4u][c % 4u] * (1.0 + norm[c / 4u][c % 4u]);
      hidden[state.step * ${columns}u + c] = value * factor;
    }
  }`;
  const body = `
var<workgroup> partial: array<f32, ${sums * threads}>;
@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
  ${
    usesSubgroups
      ? "@builtin(subgroup_size) subgroup_size: u32,\n  @builtin(subgroup_invocation_id) subgroup_lane: u32,"
      : ""
  }
) {
  if (state.is_done != 0u) { return; }
  let first = group.x * ${rows}u;
  ${range(sums).map((r) => `var sum${r} = 0.0;`).join("\n  ")}
  for (var chunk = lane; chunk < LOADS; chunk += ${threads}u) {
    ${range(quads).map((i) => `var x${i} = x[chunk * ${quads}u + ${i}u];`).join("\n    ")}
    ${isNormed ? range(quads).map(normed).join("\n    ") : ""}
    ${range(rows).map(product).join("\n    ")}
  }
  ${usesSubgroups ? subgroupReduction(threads, sums) : treeReduction(threads, sums)}
  let factor = ${
    isNormed ? `inverseSqrt(total${rows} / f32(${columns}) + ${NORM_EPSILON})` : "1.0"
  };
  ${
    range(rows / 2).map((pair) =>
      `if (lane == ${pair}u && first + ${2 * pair}u < shard.rows) {
    store(0u, state.place, shard.first + first + ${2 * pair}u,
      total${2 * pair} * factor, total${2 * pair + 1} * factor);
  }`
    ).join("\n  ")
  }
  ${keptSteps > 0 ? keep : ""}
}`;
  return defineKernel(options.label, [...fragments, ...epilogue, text(body)]);
}
