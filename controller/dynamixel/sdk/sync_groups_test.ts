import assert from "node:assert/strict";
import fc from "fast-check";
import { piecesOf, pieceValue, setPiece } from "./sync_groups.ts";

Deno.test("piecesOf() covers an item without gaps, with pieces of 4, 2 and 1", () => {
  assert.deepEqual(piecesOf(7), [
    { offset: 0, size: 4 },
    { offset: 4, size: 2 },
    { offset: 6, size: 1 },
  ]);
  fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
    const copy = new Uint8Array(bytes.length);
    let next = 0;
    for (const piece of piecesOf(bytes.length)) {
      assert.equal(piece.offset, next);
      next += piece.size;
      const value = pieceValue(bytes, piece);
      assert.ok(value >= 0 && value < 256 ** piece.size);
      setPiece(copy, piece, value);
    }
    assert.deepEqual(copy, bytes);
  }));
});
