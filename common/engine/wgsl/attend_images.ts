/**
 * Attention of the image encoder: within a picture every token sees every token, one key/value head a
 * query head, with a running softmax, so that no matrix of scores is ever stored.
 *
 * A workgroup takes a block of queries of one head and one picture. It walks the keys a tile at a time:
 * the tile's keys come into workgroup memory and are multiplied with the queries there, 2 × 2 scores a
 * thread; then the tile's values take their place, and each thread adds them up for one quad of a
 * head's numbers and several queries, which it keeps in registers.
 *
 * @module
 */

import { defineKernel, type Kernel } from "../kernel.ts";
import { paddedColumns } from "../packed_rows.ts";
import { NO_SCORE } from "./attend_split.ts";
import { binding, f32, text } from "./shared.ts";

/** Sizes of an image encoder's attention. */
export interface ImageAttentionSize {
  /** N. */
  readonly heads: number;
  /** K, a multiple of 4. */
  readonly headDim: number;
  /** T: tokens of a picture. */
  readonly tokens: number;
}

/** Queries of a workgroup and keys of a tile. */
export interface AttentionTile {
  /** Even. */
  readonly queries: number;
  /** Even. */
  readonly keys: number;
}

const THREADS = 128;

/** Workgroup memory that every device has (WebGPU's default limit). */
const MEMORY_BYTES = 16384;

/** From the best to the smallest. */
const TILES: readonly AttentionTile[] = [
  { queries: 32, keys: 16 },
  { queries: 16, keys: 16 },
  { queries: 8, keys: 8 },
  { queries: 4, keys: 4 },
];

/**
 * Quads from one key of a tile to the next: odd, so that threads with neighbouring keys read from
 * different banks of memory.
 */
function keyQuads(headDim: number): number {
  return headDim / 4 | 1;
}

function tileBytes({ queries, keys }: AttentionTile, headDim: number): number {
  const vectors = 16 * (queries * headDim / 4 + keys * keyQuads(headDim));
  return vectors + 4 * (keys * (queries + 1) + queries);
}

/**
 * The largest tile whose queries, keys and scores fit a workgroup's memory.
 *
 * @param headDim K.
 * @returns The tile.
 * @throws {RangeError} If none fits.
 */
export function attentionTile(headDim: number): AttentionTile {
  const tile = TILES.find((tile) => tileBytes(tile, headDim) <= MEMORY_BYTES);
  if (tile) return tile;
  throw new RangeError(
    `Cannot build an image encoder: heads of ${headDim} numbers do not fit a workgroup's ` +
      `${MEMORY_BYTES} bytes`,
  );
}

/**
 * The kernel. It binds `qkv` (`[pictures · T, 3 · N · K padded]`: queries, keys, values, heads in order,
 * K each, nothing scaled yet) and writes the first N · K of each row of `attended`
 * (`[pictures · T, N · K padded]`).
 *
 * @param size Sizes.
 * @returns The kernel; run N · ⌈T / queries of a tile⌉ × pictures workgroups.
 */
export function attendImagesKernel({ heads, headDim, tokens }: ImageAttentionSize): Kernel {
  const { queries, keys } = attentionTile(headDim);
  const quads = headDim / 4;
  const groups = Math.floor(THREADS / quads); // of threads that share a query
  const own = Math.ceil(queries / groups);
  const range = Array.from({ length: own }, (_, j) => j);
  const body = `
const HEADS = ${heads}u;
const HEAD4 = ${quads}u;
const TOKENS = ${tokens}u;
const ROW4 = ${paddedColumns(3 * heads * headDim) / 4}u;
const OUT4 = ${paddedColumns(heads * headDim) / 4}u;
const QUERIES = ${queries}u;
const KEYS = ${keys}u;
const KEY4 = ${keyQuads(headDim)}u; // from one key of the tile to the next
const WEIGHTS = ${queries + 1}u; // from one key's weights to the next
var<workgroup> asked: array<vec4<f32>, ${queries * quads}>;
var<workgroup> tile: array<vec4<f32>, ${keys * keyQuads(headDim)}>; // keys, then values
var<workgroup> weights: array<f32, ${keys * (queries + 1)}>; // [key][query]
var<workgroup> factors: array<f32, ${queries}>; // of what each query has added up so far
fn load_tile(lane: u32, first: u32, key0: u32) {
  for (var i = lane; i < KEYS * HEAD4; i += ${THREADS}u) {
    let key = i / HEAD4;
    tile[key * KEY4 + i % HEAD4] = qkv[first + min(key0 + key, TOKENS - 1u) * ROW4 + i % HEAD4];
  }
}
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let head = group.x % HEADS;
  let query0 = group.x / HEADS * QUERIES;
  let first = group.y * TOKENS * ROW4 + head * HEAD4; // the picture's first query of this head
  for (var i = lane; i < QUERIES * HEAD4; i += ${THREADS}u) {
    let query = min(query0 + i / HEAD4, TOKENS - 1u);
    asked[i] = qkv[first + query * ROW4 + i % HEAD4] * ${f32(headDim ** -0.5)};
  }
  // The first threads keep a query's greatest score and sum of weights.
  var top = ${NO_SCORE};
  var sum = 0.0;
  let quad = lane % HEAD4;
  let team = lane / HEAD4;
  ${range.map((j) => `let row${j} = min(team + ${j * groups}u, QUERIES - 1u);`).join("\n  ")}
  ${range.map((j) => `var out${j} = vec4<f32>();`).join("\n  ")}
  for (var key0 = 0u; key0 < TOKENS; key0 += KEYS) {
    load_tile(lane, first + HEADS * HEAD4, key0);
    workgroupBarrier();
    for (var i = lane; i < QUERIES * KEYS / 4u; i += ${THREADS}u) {
      let q = i / (KEYS / 2u);
      let k = i % (KEYS / 2u);
      var scores = vec4<f32>();
      for (var d = 0u; d < HEAD4; d++) {
        let q0 = asked[q * HEAD4 + d];
        let q1 = asked[(q + QUERIES / 2u) * HEAD4 + d];
        let k0 = tile[k * KEY4 + d];
        let k1 = tile[(k + KEYS / 2u) * KEY4 + d];
        scores += vec4<f32>(dot(q0, k0), dot(q0, k1), dot(q1, k0), dot(q1, k1));
      }
      let at = k * WEIGHTS + q;
      weights[at] = scores.x;
      weights[at + KEYS / 2u * WEIGHTS] = scores.y;
      weights[at + QUERIES / 2u] = scores.z;
      weights[at + KEYS / 2u * WEIGHTS + QUERIES / 2u] = scores.w;
    }
    workgroupBarrier();
    load_tile(lane, first + 2u * HEADS * HEAD4, key0);
    if (lane < QUERIES) {
      let count = min(KEYS, TOKENS - key0);
      let before = top;
      for (var k = 0u; k < count; k++) { top = max(top, weights[k * WEIGHTS + lane]); }
      let fade = exp(before - top);
      sum *= fade;
      for (var k = 0u; k < KEYS; k++) {
        let weight = select(0.0, exp(weights[k * WEIGHTS + lane] - top), k < count);
        weights[k * WEIGHTS + lane] = weight;
        sum += weight;
      }
      factors[lane] = fade;
    }
    workgroupBarrier();
    ${range.map((j) => `out${j} *= factors[row${j}];`).join("\n    ")}
    for (var k = 0u; k < KEYS; k++) {
      let value = tile[k * KEY4 + quad];
      ${range.map((j) => `out${j} += weights[k * WEIGHTS + row${j}] * value;`).join("\n      ")}
    }
    workgroupBarrier();
  }
  if (lane < QUERIES) { factors[lane] = 1.0 / sum; }
  workgroupBarrier();
  if (team >= ${groups}u) { return; }
  let block = group.y * TOKENS + query0;
  let at = head * HEAD4 + quad;
  ${
    range.map((j) =>
      `if (team + ${j * groups}u < min(QUERIES, TOKENS - query0)) {
    attended[(block + row${j}) * OUT4 + at] = out${j} * factors[row${j}];
  }`
    ).join("\n  ")
  }
}`;
  return defineKernel("attend images", [
    binding("qkv", "read", "array<vec4<f32>>"),
    binding("attended", "read_write", "array<vec4<f32>>"),
    text(body),
  ]);
}
