import assert from "node:assert/strict";
import fc from "fast-check";
import {
  MAX_ALPHABET_SIZE,
  splitWords,
  stepUtf8,
  toByteChars,
  tokenToBytes,
} from "./byte_level.ts";

/** Texts of any characters below the surrogates, often of the first few hundred. */
const text = fc.array(fc.oneof(fc.nat(700), fc.nat(MAX_ALPHABET_SIZE - 1)))
  .map((codes) => String.fromCharCode(...codes));

/** Feed bytes to stepUtf8(); null where it refuses or a character stays unfinished. */
function decode(bytes: Iterable<number>, alphabetSize: number): number[] | null {
  const codes: number[] = [];
  let pending = 0;
  for (const byte of bytes) {
    const step = stepUtf8(pending, byte, alphabetSize);
    if (step === -1) return null;
    if (step < 0) codes.push(-2 - step);
    pending = step < 0 ? 0 : step;
  }
  return pending === 0 ? codes : null;
}

Deno.test("stepUtf8() reads every character below the bound and none above", () => {
  for (const bound of [100, 128, 129, 300, 2048, 2500, MAX_ALPHABET_SIZE]) {
    for (const code of [0, 99, 100, 127, 128, 255, 299, 300, 2047, 2048, 2499, 2500, 0xd7ff]) {
      const read = decode(new TextEncoder().encode(String.fromCharCode(code)), bound);
      assert.deepEqual(read, code < bound ? [code] : null, `character ${code}, bound ${bound}`);
    }
  }
});

Deno.test("stepUtf8() accepts exactly what a fatal TextDecoder accepts", () => {
  const byte = fc.oneof(
    fc.integer({ min: 0, max: 255 }),
    fc.constantFrom(0xc0, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0x80, 0x9f, 0xa0, 0xbf),
  );
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 5 }), (bytes) => {
      let expected: number[] | null;
      try {
        const decoded = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
          .decode(Uint8Array.from(bytes));
        expected = Array.from(decoded, (c) => c.codePointAt(0)!);
        if (expected.some((code) => code >= MAX_ALPHABET_SIZE)) expected = null;
      } catch {
        expected = null;
      }
      assert.deepEqual(decode(bytes, MAX_ALPHABET_SIZE), expected);
    }),
    { numRuns: 3000, seed: 1 },
  );
});

Deno.test("stepUtf8() never leaves a character that nothing can finish", () => {
  for (const bound of [129, 193, 300, 2049, 2112, 5000]) {
    for (let lead = 0; lead < 256; lead++) {
      const pending = stepUtf8(0, lead, bound);
      if (pending <= 0) continue;
      const hasWay = Array.from({ length: 64 }, (_, i) => stepUtf8(pending, 0x80 + i, bound))
        .some((step) => step !== -1);
      assert.ok(hasWay, `lead byte ${lead}, bound ${bound}`);
    }
  }
});

Deno.test("tokenToBytes() undoes toByteChars(), and lets raw characters stand for themselves", () => {
  fc.assert(
    fc.property(text, (chars) => {
      assert.deepEqual(tokenToBytes(toByteChars(chars).join("")), new TextEncoder().encode(chars));
    }),
    { numRuns: 200, seed: 2 },
  );
  assert.deepEqual([...tokenToBytes("\x00")], [0]);
  assert.deepEqual([...tokenToBytes("é")], [0xe9]); // in the byte alphabet: one byte, not "é"
});

Deno.test("splitWords() loses nothing", () => {
  fc.assert(
    fc.property(text, (chars) => {
      assert.equal(splitWords(chars).join(""), chars);
    }),
    { numRuns: 200, seed: 3 },
  );
});
