/**
 * Loops over matrices in WebAssembly with 128-bit vectors: products of matrices as they lie, and a
 * transposition.
 *
 * A product makes 6 × 8 numbers at a time, which with what they are made of fill the 15 vectors that V8
 * has on x86-64. Nothing is packed first: the second operand should fit the processor's second cache.
 *
 * @module
 */

import {
  add,
  addF32,
  addF32x4,
  and,
  type Code,
  f32,
  get,
  i32,
  loadF32,
  loadSplat,
  loadV128,
  mul,
  mulF32,
  pick,
  set,
  splat,
  storeF32,
  storeV128,
  sub,
  type WasmFunction,
  whileBelow,
} from "./wasm_assembler.ts";
import type { MultiplyAdd } from "./wasm_multiply_add.ts";

const next = (local: number, step: number | Code): Code =>
  set(local, add(get(local), typeof step === "number" ? i32(step) : step));

/** Rows that a product makes at a time; 4 for what is left of heads in fours. */
const BLOCK_ROWS = [6, 4, 1] as const;
/** Vectors of four columns that it makes at a time. */
const BLOCK_VECTORS = 2;
/** Steps along the inner axis between two looks at its end. */
const UNROLLED = 4;

/** Which product {@link productFunction} makes. */
export interface ProductKind {
  /** The first operand lies transposed: its columns are rows in memory. */
  readonly isTurned: boolean;
  /** Add to what c holds. */
  readonly isSum: boolean;
}

/**
 * A function `(a, aRow, b, bRow, c, cRow, rows, columns, inner)`: c = a · b, aᵀ · b, c + a · b or c + aᵀ · b.
 * Places and strides of rows are in bytes, the numbers of a row lie side by side, sizes count numbers:
 * `rows` and `columns` are those of c.
 * @param multiplyAdd How a product is added.
 */
export function productFunction(
  name: string,
  { isTurned, isSum }: ProductKind,
  multiplyAdd: MultiplyAdd,
): WasmFunction {
  const [a, aRow, b, bRow, c, cRow, rows, columns, inner] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const [i, j, k, atB, atC, whole] = [9, 10, 11, 12, 13, 14];
  // Turned rows lie side by side: one place does for all of them.
  const atA = [15, 16, 17, 18, 19, 20];
  const sum = 21;
  const sums = [22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33];
  const loaded = [34, 35];
  const factor = 36;

  const linesOf = (lines: number) => atA.slice(0, isTurned ? 1 : lines);
  const start = (lines: number): Code => [
    ...linesOf(lines).flatMap((line, r) => {
      const first = add(get(a), mul(get(i), isTurned ? i32(4) : get(aRow)));
      return set(line, r === 0 ? first : add(get(atA[r - 1]), get(aRow)));
    }),
    ...set(atB, add(get(b), mul(get(j), i32(4)))),
    ...set(atC, add(add(get(c), mul(get(i), get(cRow))), mul(get(j), i32(4)))),
    ...set(k, i32(0)),
  ];
  /** A number of row r, so many steps ahead. */
  const ofA = <T>(load: (address: Code, offset: number) => T, r: number, ahead: number): T =>
    isTurned ? load(get(atA[0]), 4 * r) : load(get(atA[r]), 4 * ahead);
  /** `steps` along the inner axis. */
  const along = (lines: number, steps: number, work: (ahead: number) => Code): Code => [
    ...Array.from({ length: steps }, (_, ahead) => [
      ...work(ahead),
      ...next(atB, get(bRow)),
      ...(isTurned ? next(atA[0], get(aRow)) : []),
    ]).flat(),
    ...(isTurned ? [] : linesOf(lines).flatMap((line) => next(line, 4 * steps))),
    ...next(k, steps),
  ];

  /** `lines` rows by so many vectors of columns. */
  const vectors = (lines: number, count: number): Code => {
    const sumOf = (r: number, v: number) => sums[r * BLOCK_VECTORS + v];
    const overRows = (make: (r: number) => Code) =>
      Array.from({ length: lines }, (_, r) => make(r)).flat();
    const overVectors = (make: (v: number) => Code) =>
      Array.from({ length: count }, (_, v) => make(v)).flat();
    const step = (ahead: number): Code => [
      ...overVectors((v) => set(loaded[v], loadV128(get(atB), 16 * v))),
      ...overRows((r) => [
        ...set(factor, ofA(loadSplat, r, ahead)),
        ...overVectors((v) =>
          set(sumOf(r, v), multiplyAdd(get(factor), get(loaded[v]), get(sumOf(r, v))))
        ),
      ]),
    ];
    return [
      ...start(lines),
      ...overRows((r) => overVectors((v) => set(sumOf(r, v), splat(f32(0))))),
      ...whileBelow(k, get(whole), along(lines, UNROLLED, step)),
      ...whileBelow(k, get(inner), along(lines, 1, step)),
      ...overRows((r) => [
        ...overVectors((v) => {
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
        along(
          lines,
          1,
          () => set(sum, addF32(get(sum), mulF32(ofA(loadF32, r, 0), loadF32(get(atB))))),
        ),
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
    parameters: 9,
    locals: { i32: 12, f32: 1, v128: 15 },
    body: [
      ...set(whole, and(get(inner), i32(-UNROLLED))),
      ...BLOCK_ROWS.flatMap((lines) =>
        whileBelow(i, sub(get(rows), i32(lines - 1)), allColumns(lines))
      ),
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
