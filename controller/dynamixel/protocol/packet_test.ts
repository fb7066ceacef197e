import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeInstruction, encodeStatus, stuff, unstuff } from "./packet.ts";
import { bytesOf, readGoldens } from "./testing.ts";

/** Bytes in which the pattern that is stuffed is frequent. */
const patternedBytes = fc.array(fc.constantFrom(0xff, 0xff, 0xfd, 0x00), { maxLength: 40 })
  .map((values) => Uint8Array.from(values));

Deno.test("encodeInstruction() makes the packets of the e-manual", () => {
  const examples: [number, number, string, string][] = [
    [1, 0x01, "", "FF FF FD 00 01 03 00 01 19 4E"],
    [0xfe, 0x01, "", "FF FF FD 00 FE 03 00 01 31 42"],
    [1, 0x02, "84 00 04 00", "FF FF FD 00 01 07 00 02 84 00 04 00 1D 15"],
    [
      0xfe,
      0x92,
      "01 90 00 02 00 02 92 00 01 00",
      "FF FF FD 00 FE 0D 00 92 01 90 00 02 00 02 92 00 01 00 1A 05",
    ],
  ];
  for (const [id, instruction, params, packet] of examples) {
    assert.deepEqual(encodeInstruction(id, instruction, bytesOf(params)), bytesOf(packet));
  }
});

Deno.test("encodeStatus() makes the packets of the e-manual", () => {
  const examples: [number, string, string][] = [
    [1, "06 04 26", "FF FF FD 00 01 07 00 55 00 06 04 26 65 5D"],
    [2, "06 04 26", "FF FF FD 00 02 07 00 55 00 06 04 26 6F 6D"],
    [1, "77 00", "FF FF FD 00 01 06 00 55 00 77 00 C3 69"],
    [2, "24", "FF FF FD 00 02 05 00 55 00 24 8B A9"],
  ];
  for (const [id, params, packet] of examples) {
    assert.deepEqual(encodeStatus(id, 0, bytesOf(params)), bytesOf(packet));
  }
});

Deno.test("encodeStatus() agrees with ROBOTIS' library", () => {
  const { statuses } = readGoldens();
  assert.equal(statuses.length, 30);
  for (const { id, error, data, packet } of statuses) {
    assert.deepEqual(encodeStatus(id, error, data), packet);
  }
});

Deno.test("stuff() puts FD behind every header pattern, and unstuff() takes it away", () => {
  assert.deepEqual(stuff(bytesOf("55 00 FF FF FD FD")), bytesOf("55 00 FF FF FD FD FD"));
  fc.assert(
    fc.property(patternedBytes, (body) => {
      const stuffed = stuff(body);
      assert.deepEqual(unstuff(stuffed), body);
      for (let i = 0; i + 3 < stuffed.length; i++) {
        if (stuffed[i] === 0xff && stuffed[i + 1] === 0xff && stuffed[i + 2] === 0xfd) {
          assert.equal(stuffed[i + 3], 0xfd);
        }
      }
    }),
    { numRuns: 500, seed: 1 },
  );
});

Deno.test("encodeInstruction() refuses a factory reset and what no packet can carry", () => {
  assert.throws(() => encodeInstruction(1, 0x06), /Refused to encode a factory reset for ID 1/);
  assert.throws(() => encodeInstruction(253, 1), /ID 253, expected 0–252 or 254/);
  assert.throws(() => encodeInstruction(1.5, 1), RangeError);
  assert.throws(() => encodeInstruction(1, 256), /instruction 256/);
  assert.throws(() => encodeInstruction(1, 3, new Uint8Array(1022)), /length 1025, at most 1024/);
  assert.throws(() => encodeStatus(1, -1), /error byte -1/);
});
