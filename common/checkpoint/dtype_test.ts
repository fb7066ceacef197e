import assert from "node:assert/strict";
import fc from "fast-check";
import { narrow, widen } from "./dtype.ts";

const wordsOf = (values: number[]) => [...new Uint32Array(Float32Array.from(values).buffer)];

function roundTrip(values: Float32Array): Float32Array {
  const back = new Float32Array(values.length);
  widen(narrow(values, "BF16") as Uint8Array<ArrayBuffer>, "BF16", back);
  return back;
}

Deno.test("narrow() rounds to bfloat16 to nearest, ties to even", () => {
  const inputs = Uint32Array.of(
    0x3f800000, // 1
    0x3f808000, // a tie above an even number: down
    0x3f818000, // a tie above an odd number: up
    0x3f808001, // just above a tie: up
    0x3f807fff, // just below a tie: down
    0x00000001, // the smallest denormal: down to zero
    0x80000000, // −0
    0x7f7fffff, // the largest float32: up to infinity
    0x7f800000, // infinity
    0xff800000, // −infinity
  );
  const back = roundTrip(new Float32Array(inputs.buffer));
  assert.deepEqual([...new Uint32Array(back.buffer)].map((x) => x >>> 16), [
    ...[0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x3f80, 0, 0x8000, 0x7f80, 0x7f80, 0xff80],
  ]);
});

Deno.test("narrow() keeps every NaN a NaN in bfloat16", () => {
  const back = roundTrip(
    new Float32Array(Uint32Array.of(0x7f800001, 0x7fffffff, 0xffffffff).buffer),
  );
  assert.ok(back.every((x) => Number.isNaN(x)), wordsOf([...back]).join());
});

Deno.test("narrow() to bfloat16 is never further off than half a step", () => {
  fc.assert(
    fc.property(fc.float({ noNaN: true, min: Math.fround(-1e30), max: Math.fround(1e30) }), (x) => {
      const [back] = roundTrip(Float32Array.of(x));
      assert.ok(Math.abs(back - x) <= Math.max(Math.abs(x) * 2 ** -8, 2 ** -134));
      assert.equal(roundTrip(Float32Array.of(back))[0], back);
    }),
    { numRuns: 200 },
  );
});
