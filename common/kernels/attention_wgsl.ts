/**
 * Code of attention over a cache in WGSL, with its gradient.
 *
 * Forward, a workgroup takes one or eight rows of queries, which share the keys and values that are
 * read, and goes through the keys a tile at a time with a running maximum (Dao et al., 2022,
 * FlashAttention): the sums so far are scaled down when a greater score comes. Backward, each row's
 * maximum and sum are found first; then every row of dq, dk and dv is one workgroup's, which makes the
 * weights anew.
 *
 * Letters: K width of a head, R rows of queries: N heads a place.
 *
 * @module
 */

import { GROUP_ID } from "./webgpu_backend.ts";

/** Threads of a workgroup. */
export const THREADS = 64;

/** Declarations of what all programs are given with a run. */
export const UNIFORMS: string =
  "batch : i32, rows : i32, heads : i32, keys : i32, capacity : i32, " +
  "width : i32, maskBatchStride : i32, maskPlaceStride : i32,";

/** Less than any score, masked or not. */
const LOWEST = "-3.4028234e38";

/** Numbers of a row that each thread sums up, for a head of this width. */
export const columnsOf = (width: number): number => Math.ceil(width / THREADS);

/** `score(b, row, key)` and, with the gradient of the output, `push(b, row, key)`. */
function dotCode(hasGradient: boolean): string {
  const dot = (name: string, left: string, right: string, added: string) => `
  fn ${name}(b : i32, row : i32, key : i32) -> f32 {
    let begin = (b * uniforms.rows + row) * uniforms.width;
    let to = (b * uniforms.capacity + key) * uniforms.width;
    var sum = 0.0;
    for (var c = 0; c < uniforms.width; c++) { sum += ${left}[begin + c] * ${right}[to + c]; }
    return sum${added};
  }`;
  const masked = ` + mask[b * uniforms.maskBatchStride +
      (row / uniforms.heads) * uniforms.maskPlaceStride + key]`;
  return dot("score", "q", "k", masked) + (hasGradient ? dot("push", "dy", "v", "") : "");
}

/**
 * The output `[B, R, K]` from q, k, v and mask.
 * @param columns {@link columnsOf} of the heads.
 * @param rows Rows of queries of a workgroup: 1 or 8.
 */
export function attentionCode(columns: number, rows: number): string {
  const tile = rows === 1 ? THREADS : 32;
  const perThread = rows * tile / THREADS;
  return `
  ${GROUP_ID}
  ${dotCode(false)}
  var<workgroup> weights : array<f32, ${rows * tile}>;
  var<workgroup> tops : array<f32, ${rows}>;
  var<workgroup> shrink : array<f32, ${rows}>;
  fn main(index : i32) {
    let blocks = (uniforms.rows + ${rows - 1}) / ${rows};
    let id = groupId();
    // More workgroups than blocks may run: what they make is not written.
    let isUsed = id < uniforms.batch * blocks;
    let b = select(0, id / blocks, isUsed);
    let firstRow = select(0, (id % blocks) * ${rows}, isUsed);
    let thread = i32(localId.x);
    let key = thread % ${tile};
    let mine = (thread / ${tile}) * ${perThread};
    var sums : array<f32, ${rows * columns}>;
    var totals : array<f32, ${rows}>;
    if (thread < ${rows}) { tops[thread] = ${LOWEST}; }
    for (var at = 0; at < uniforms.keys; at += ${tile}) {
      let isKey = at + key < uniforms.keys;
      for (var r = mine; r < mine + ${perThread}; r++) {
        let row = min(firstRow + r, uniforms.rows - 1);
        weights[r * ${tile} + key] =
          select(${LOWEST}, score(b, row, min(at + key, uniforms.keys - 1)), isKey);
      }
      workgroupBarrier();
      if (thread < ${rows}) {
        var top = tops[thread];
        for (var j = 0; j < ${tile}; j++) { top = max(top, weights[thread * ${tile} + j]); }
        shrink[thread] = exp(tops[thread] - top);
        tops[thread] = top;
      }
      workgroupBarrier();
      for (var r = mine; r < mine + ${perThread}; r++) {
        let i = r * ${tile} + key;
        weights[i] = select(0.0, exp(weights[i] - tops[r]), isKey);
      }
      workgroupBarrier();
      for (var r = 0; r < ${rows}; r++) {
        totals[r] *= shrink[r];
        for (var i = 0; i < ${columns}; i++) { sums[r * ${columns} + i] *= shrink[r]; }
      }
      let count = min(${tile}, uniforms.keys - at);
      for (var j = 0; j < count; j++) {
        let begin = (b * uniforms.capacity + at + j) * uniforms.width;
        for (var r = 0; r < ${rows}; r++) { totals[r] += weights[r * ${tile} + j]; }
        for (var i = 0; i < ${columns}; i++) {
          let c = thread + i * ${THREADS};
          if (c < uniforms.width) {
            let value = v[begin + c];
            for (var r = 0; r < ${rows}; r++) {
              sums[r * ${columns} + i] += weights[r * ${tile} + j] * value;
            }
          }
        }
      }
      workgroupBarrier();
    }
    if (isUsed) {
      for (var r = 0; r < min(${rows}, uniforms.rows - firstRow); r++) {
        let to = (b * uniforms.rows + firstRow + r) * uniforms.width;
        for (var i = 0; i < ${columns}; i++) {
          let c = thread + i * ${THREADS};
          if (c < uniforms.width) { result[to + c] = sums[r * ${columns} + i] / totals[r]; }
        }
      }
    }
  }`;
}

/**
 * Of each row of queries `[B · R, 3]`: its greatest score, 1 over the sum of exponentials, and the mean
 * gradient of its weights. From q, k, v, mask and dy.
 */
export function rowStatsCode(): string {
  return `
  ${GROUP_ID}
  ${dotCode(true)}
  var<workgroup> found : array<vec3<f32>, ${THREADS}>;
  fn joined(a : vec3<f32>, b : vec3<f32>) -> vec3<f32> {
    let top = max(a.x, b.x);
    let parts = exp(vec2<f32>(a.x, b.x) - top);
    return vec3<f32>(top, a.yz * parts.x + b.yz * parts.y);
  }
  fn main(index : i32) {
    let id = groupId();
    let isUsed = id < uniforms.batch * uniforms.rows;
    let b = select(0, id / uniforms.rows, isUsed);
    let row = select(0, id % uniforms.rows, isUsed);
    var mine = vec3<f32>(${LOWEST}, 0.0, 0.0);
    for (var key = i32(localId.x); key < uniforms.keys; key += ${THREADS}) {
      mine = joined(mine, vec3<f32>(score(b, row, key), 1.0, push(b, row, key)));
    }
    found[localId.x] = mine;
    workgroupBarrier();
    for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
      if (localId.x < half) {
        found[localId.x] = joined(found[localId.x], found[localId.x + half]);
      }
      workgroupBarrier();
    }
    if (localId.x == 0u && isUsed) {
      result[3 * id] = found[0].x;
      result[3 * id + 1] = 1.0 / found[0].y;
      result[3 * id + 2] = found[0].z / found[0].y;
    }
  }`;
}

/**
 * The gradient of q `[B, R, K]`, or of k or v `[B, C, K]`. From q, k, v, mask, dy and the rows' stats;
 * that of v does not depend on v, and is not given it.
 * @param columns {@link columnsOf} of the heads.
 */
export function gradientCode(of: "q" | "k" | "v", columns: number): string {
  const isRow = of === "q";
  const [own, other] = isRow
    ? ["uniforms.rows", "uniforms.keys"]
    : ["uniforms.capacity", "uniforms.rows"];
  const weight = of === "v" ? "weight" : "weight * (push(b, row, key) - stats[at + 2])";
  const source = { q: "k", k: "q", v: "dy" }[of];
  const sourceRows = isRow ? "uniforms.capacity" : "uniforms.rows";
  return `
  ${GROUP_ID}
  ${dotCode(of !== "v")}
  var<workgroup> weights : array<f32, ${THREADS}>;
  fn main(index : i32) {
    let id = groupId();
    let isUsed = id < uniforms.batch * ${own};
    let b = select(0, id / ${own}, isUsed);
    let own = select(0, id % ${own}, isUsed);
    let thread = i32(localId.x);
    var sums : array<f32, ${columns}>;
    for (var first = 0; first < ${other}; first += ${THREADS}) {
      let other = min(first + thread, ${other} - 1);
      let row = ${isRow ? "own" : "other"};
      let key = ${isRow ? "other" : "min(own, uniforms.keys - 1)"};
      let at = 3 * (b * uniforms.rows + row);
      let weight = exp(score(b, row, key) - stats[at]) * stats[at + 1];
      // A place of the cache that is not in use has no weight.
      let isThere = first + thread < ${other} && ${isRow ? "true" : "own < uniforms.keys"};
      weights[thread] = select(0.0, ${weight}, isThere);
      workgroupBarrier();
      let count = min(${THREADS}, ${other} - first);
      for (var j = 0; j < count; j++) {
        let begin = (b * ${sourceRows} + first + j) * uniforms.width;
        for (var i = 0; i < ${columns}; i++) {
          let c = thread + i * ${THREADS};
          if (c < uniforms.width) { sums[i] += weights[j] * ${source}[begin + c]; }
        }
      }
      workgroupBarrier();
    }
    if (isUsed) {
      for (var i = 0; i < ${columns}; i++) {
        let c = thread + i * ${THREADS};
        if (c < uniforms.width) { result[id * uniforms.width + c] = sums[i]; }
      }
    }
  }`;
}
