/**
 * Loops over matrices in WebAssembly with 128-bit vectors: a product of matrices that lie anyhow, and
 * a transposition.
 *
 * The product makes 4 × 8 numbers at a time. XNNPACK's is as fast for large matrices, but packs one
 * operand before each call, and is called through names and ids: for one token over a cache, or a head
 * 16 wide, that costs more than the product.
 *
 * @module
 */

import {
  add,
  addF32,
  addF32x4,
  type Code,
  f32,
  get,
  i32,
  loadF32,
  loadSplat,
  loadV128,
  mul,
  mulF32,
  mulF32x4,
  pick,
  set,
  splat,
  storeF32,
  storeV128,
  sub,
  type WasmFunction,
  whileBelow,
} from "./wasm_assembler.ts";

const next = (local: number, step: number | Code): Code =>
  set(local, add(get(local), typeof step === "number" ? i32(step) : step));

/** Rows and vectors of four columns that a product makes at a time. */
const BLOCK_ROWS = 4, BLOCK_VECTORS = 2;

/**
 * A function `(a, aRow, aColumn, b, bRow, c, cRow, rows, columns, inner)`: c = a · b, or c += a · b. Places
 * and strides are in bytes, the columns of b and c lie side by side, sizes count numbers.
 * @param isSum Add to what c holds.
 */
export function multiplyFunction(name: string, isSum: boolean): WasmFunction {
  const [a, aRow, aColumn, b, bRow, c, cRow, rows, columns, inner] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const [i, j, k, atB, atC] = [10, 11, 12, 13, 14];
  const atA = [15, 16, 17, 18];
  const sum = 19;
  const sums = [20, 21, 22, 23, 24, 25, 26, 27];
  const loaded = [28, 29];
  const factor = 30;

  const start = (lines: number): Code => [
    ...atA.slice(0, lines).flatMap((line, r) =>
      set(line, r === 0 ? add(get(a), mul(get(i), get(aRow))) : add(get(atA[r - 1]), get(aRow)))
    ),
    ...set(atB, add(get(b), mul(get(j), i32(4)))),
    ...set(atC, add(add(get(c), mul(get(i), get(cRow))), mul(get(j), i32(4)))),
    ...set(k, i32(0)),
  ];
  const advance = (lines: number): Code => [
    ...atA.slice(0, lines).flatMap((line) => next(line, get(aColumn))),
    ...next(atB, get(bRow)),
    ...next(k, 1),
  ];

  /** `lines` rows by so many vectors of columns. */
  const vectors = (lines: number, count: number): Code => {
    const sumOf = (r: number, v: number) => sums[r * BLOCK_VECTORS + v];
    const each = (make: (r: number, v: number) => Code): Code =>
      atA.slice(0, lines).flatMap((_, r) => loaded.slice(0, count).flatMap((_, v) => make(r, v)));
    return [
      ...start(lines),
      ...each((r, v) => set(sumOf(r, v), splat(f32(0)))),
      ...whileBelow(
        k,
        get(inner),
        ...loaded.slice(0, count).map((local, v) => set(local, loadV128(get(atB), 16 * v))),
        ...atA.slice(0, lines).flatMap((line, r) => [
          set(factor, loadSplat(get(line))),
          ...loaded.slice(0, count).map((local, v) =>
            set(sumOf(r, v), addF32x4(get(sumOf(r, v)), mulF32x4(get(factor), get(local))))
          ),
        ]),
        advance(lines),
      ),
      ...atA.slice(0, lines).flatMap((_, r) => [
        ...loaded.slice(0, count).flatMap((_, v) => {
          const found = get(sumOf(r, v));
          const value = isSum ? addF32x4(loadV128(get(atC), 16 * v), found) : found;
          return storeV128(get(atC), value, 16 * v);
        }),
        ...next(atC, get(cRow)),
      ]),
      ...next(j, 4 * count),
    ];
  };
  /** `lines` rows by one column. */
  const single = (lines: number): Code => [
    ...Array.from({ length: lines }, (_, r): Code => [
      ...start(lines),
      ...next(atC, mul(get(cRow), i32(r))),
      ...set(sum, isSum ? loadF32(get(atC)) : f32(0)),
      ...whileBelow(
        k,
        get(inner),
        set(sum, addF32(get(sum), mulF32(loadF32(get(atA[r])), loadF32(get(atB))))),
        advance(lines),
      ),
      ...storeF32(get(atC), get(sum)),
    ]).flat(),
    ...next(j, 1),
  ];
  const allColumns = (lines: number): Code => [
    ...set(j, i32(0)),
    ...whileBelow(
      j,
      sub(get(columns), i32(4 * BLOCK_VECTORS - 1)),
      vectors(lines, BLOCK_VECTORS),
    ),
    ...whileBelow(j, sub(get(columns), i32(3)), vectors(lines, 1)),
    ...whileBelow(j, get(columns), single(lines)),
    ...next(i, lines),
  ];
  return {
    name,
    parameters: 10,
    locals: { i32: 9, f32: 1, v128: 11 },
    body: [
      ...whileBelow(i, sub(get(rows), i32(BLOCK_ROWS - 1)), allColumns(BLOCK_ROWS)),
      ...whileBelow(i, get(rows), allColumns(1)),
    ],
  };
}

/**
 * `transpose(from, fromRow, to, toRow, rows, columns)`: columns of `from` become rows of `to`, 4 × 4
 * numbers at a time, then one by one. Strides are in bytes.
 */
export const TRANSPOSE: WasmFunction = (() => {
  const [from, fromRow, to, toRow, rows, columns] = [0, 1, 2, 3, 4, 5];
  const [i, j, source, target] = [6, 7, 8, 9];
  const lines = [10, 11, 12, 13];
  const mixed = [14, 15, 16, 17];
  const start: Code = [
    ...set(source, add(add(get(from), mul(get(i), get(fromRow))), mul(get(j), i32(4)))),
    ...set(target, add(add(get(to), mul(get(j), get(toRow))), mul(get(i), i32(4)))),
  ];
  const [a, b, c, d] = lines.map((local) => get(local));
  const [p, q, r, s] = mixed.map((local) => get(local));
  const block: Code = [
    ...start,
    ...lines.flatMap((
      local,
    ) => [...set(local, loadV128(get(source))), ...next(source, get(fromRow))]),
    ...set(mixed[0], pick(a, b, [0, 4, 1, 5])),
    ...set(mixed[1], pick(a, b, [2, 6, 3, 7])),
    ...set(mixed[2], pick(c, d, [0, 4, 1, 5])),
    ...set(mixed[3], pick(c, d, [2, 6, 3, 7])),
    ...[pick(p, r, [0, 1, 4, 5]), pick(p, r, [2, 3, 6, 7])].flatMap((value) => [
      ...storeV128(get(target), value),
      ...next(target, get(toRow)),
    ]),
    ...[pick(q, s, [0, 1, 4, 5]), pick(q, s, [2, 3, 6, 7])].flatMap((value) => [
      ...storeV128(get(target), value),
      ...next(target, get(toRow)),
    ]),
    ...next(j, 4),
  ];
  const single: Code = [...start, ...storeF32(get(target), loadF32(get(source))), ...next(j, 1)];
  return {
    name: "transpose",
    parameters: 6,
    locals: { i32: 4, f32: 0, v128: 8 },
    body: [
      ...whileBelow(
        i,
        sub(get(rows), i32(3)),
        set(j, i32(0)),
        whileBelow(j, sub(get(columns), i32(3)), block),
        // The columns left over, of four rows.
        whileBelow(
          j,
          get(columns),
          ...[0, 1, 2, 3].map((step) => [
            ...start,
            ...storeF32(
              add(get(target), i32(4 * step)),
              loadF32(add(get(source), mul(get(fromRow), i32(step)))),
            ),
          ]),
          next(j, 1),
        ),
        next(i, 4),
      ),
      ...whileBelow(i, get(rows), set(j, i32(0)), whileBelow(j, get(columns), single), next(i, 1)),
    ],
  };
})();
