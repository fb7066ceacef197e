/**
 * The end of a product with many vectors: a thread's outputs are handed to the epilogue.
 * @module
 */

/**
 * WGSL that calls `store` for 4 rows of some tokens. It reads `sum0…` (`vec4<f32>`, a token each),
 * `row`, `first_token`, `down`, `shard` and `places`.
 *
 * A loop, since an epilogue may be long: written out for every token, drivers compile it for seconds.
 *
 * @param tokens Of a thread.
 */
export function storeTile(tokens: number): string {
  const all = Array.from({ length: tokens }, (_, i) => `sum${i}`);
  return `
  var sums = array<vec4<f32>, ${tokens}>(${all.join(", ")});
  for (var i = 0u; i < ${tokens}u; i++) {
    let t = first_token + down * ${tokens}u + i;
    if (t >= places.tokens) { break; }
    if (row < shard.rows) { store(t, t, shard.first + row, sums[i].x, sums[i].y); }
    if (row + 2u < shard.rows) { store(t, t, shard.first + row + 2u, sums[i].z, sums[i].w); }
  }`;
}
