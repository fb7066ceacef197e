import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeInstruction, encodeStatus } from "./packet.ts";
import { InstructionParser, StatusParser } from "./parser.ts";
import { bytesOf, concat, readGoldens } from "./testing.ts";

const PING = bytesOf("FF FF FD 00 01 03 00 01 19 4E");
const PING_STATUS = bytesOf("FF FF FD 00 01 07 00 55 00 06 04 26 65 5D");
const PING_REPLY = { id: 1, error: 0, params: bytesOf("06 04 26") };

const statusPacket = fc.record({
  id: fc.integer({ min: 0, max: 252 }),
  error: fc.integer({ min: 0, max: 255 }),
  params: fc.array(fc.constantFrom(0xff, 0xff, 0xfd, 0x00, 0x55, 0x10), { maxLength: 30 })
    .map((values) => Uint8Array.from(values)),
}, { noNullPrototype: true });

/** Cuts bytes into pieces of the given sizes, over and over. */
function* chunksOf(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let [at, i] = [0, 0]; at < bytes.length; at += sizes[i++ % sizes.length]) {
    yield bytes.subarray(at, at + sizes[i % sizes.length]);
  }
}

Deno.test("StatusParser finds the packets of ROBOTIS' library byte by byte", () => {
  const { statuses } = readGoldens();
  const parser = new StatusParser();
  const found = [...chunksOf(concat(statuses.map(({ packet }) => packet)), [1])]
    .flatMap((chunk) => parser.push(chunk));
  assert.deepEqual(found, statuses.map(({ id, error, data }) => ({ id, error, params: data })));
  assert.deepEqual(parser.counts, {
    packets: statuses.length,
    malformed: 0,
    corrupt: 0,
    foreign: 0,
    skippedBytes: 0,
  });
});

Deno.test("StatusParser finds every packet under any chunking with garbage between", () => {
  // Garbage without FF cannot begin a header; garbage with it is the next property's.
  const garbage = fc.uint8Array({ max: 0xfe, maxLength: 12 });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(garbage, statusPacket), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 5 }),
      (parts, sizes) => {
        const bytes = concat(
          parts.flatMap(([noise, { id, error, params }]) => [
            noise,
            encodeStatus(id, error, params),
          ]),
        );
        const parser = new StatusParser();
        const found = [...chunksOf(bytes, sizes)].flatMap((chunk) => parser.push(chunk));
        assert.deepEqual(found, parts.map(([, packet]) => packet));
        assert.equal(parser.pendingBytes, 0);
      },
    ),
    { numRuns: 200, seed: 2 },
  );
});

Deno.test("StatusParser bounds its memory and finds a packet again after any garbage", () => {
  const garbage = fc.array(fc.constantFrom(0xff, 0xff, 0xfd, 0x00, 0x01, 0x55), { maxLength: 400 });
  fc.assert(
    fc.property(garbage, (noise) => {
      const parser = new StatusParser();
      parser.push(Uint8Array.from(noise));
      assert.ok(parser.pendingBytes <= 1031);
      // As much as the longest packet that the garbage can have announced, then the packet.
      parser.push(new Uint8Array(1031));
      assert.deepEqual(parser.push(PING_STATUS), [PING_REPLY]);
    }),
    { numRuns: 200, seed: 3 },
  );
});

Deno.test("StatusParser takes a chunk far longer than its memory", () => {
  const parser = new StatusParser();
  const many = concat(Array.from({ length: 2000 }, () => PING_STATUS));
  assert.equal(parser.push(many).length, 2000);
  assert.deepEqual(parser.push(new Uint8Array(100_000)), []);
  assert.equal(parser.counts.skippedBytes, 100_000);
});

Deno.test("StatusParser counts a bad checksum and goes on with the next packet", () => {
  for (let i = 0; i < PING_STATUS.length; i++) {
    const damaged = PING_STATUS.slice();
    damaged[i] ^= 0x10;
    const parser = new StatusParser();
    // A damaged length may swallow what follows until that many bytes have come.
    const found = parser.push(concat([damaged, PING_STATUS, new Uint8Array(1031)]));
    assert.deepEqual(found, [PING_REPLY], `byte ${i}`);
  }
  const parser = new StatusParser();
  parser.push(concat([PING_STATUS.subarray(0, 12), Uint8Array.of(0, 0), PING_STATUS]));
  assert.equal(parser.counts.corrupt, 1);
});

Deno.test("StatusParser drops a packet that broke off as soon as the next one begins", () => {
  for (let length = 1; length < PING_STATUS.length; length++) {
    const parser = new StatusParser();
    const found = parser.push(concat([PING_STATUS.subarray(0, length), PING_STATUS]));
    assert.deepEqual(found, [PING_REPLY], `cut after ${length} bytes`);
  }
});

Deno.test("StatusParser refuses impossible IDs and lengths", () => {
  for (
    const prefix of ["FD 07 00 55", "FF 07 00 55", "01 03 00 55", "01 01 04 55", "01 FF FF 55"]
  ) {
    const parser = new StatusParser();
    assert.deepEqual(parser.push(concat([bytesOf(`FF FF FD 00 ${prefix}`), PING_STATUS])), [
      PING_REPLY,
    ]);
    assert.equal(parser.counts.malformed, 1, prefix);
  }
});

Deno.test("StatusParser accepts a checksum that looks like part of a header", () => {
  // Stuffing does not reach the checksum, so FF FF | FD may stand at the end of a packet.
  let tried = 0;
  for (let value = 0; value < 0x10000; value++) {
    const packet = encodeStatus(1, 0, Uint8Array.of(value & 0xff, value >> 8, 0xff, 0xff));
    if (packet[packet.length - 2] !== 0xfd) continue;
    tried++;
    assert.equal(new StatusParser().push(concat([packet, PING_STATUS])).length, 2);
    if (tried === 20) break;
  }
  assert.equal(tried, 20);
});

Deno.test("each parser passes over the other's packets", () => {
  const status = new StatusParser();
  assert.deepEqual(status.push(concat([PING, PING_STATUS])), [PING_REPLY]);
  assert.equal(status.counts.foreign, 1);
  const instruction = new InstructionParser();
  assert.deepEqual(instruction.push(concat([PING_STATUS, PING])), [
    { id: 1, instruction: 1, params: new Uint8Array() },
  ]);
  assert.equal(instruction.counts.foreign, 1);
});

Deno.test("reset() forgets an unfinished packet", () => {
  const parser = new InstructionParser();
  parser.push(encodeInstruction(1, 3, new Uint8Array(100)).subarray(0, 50));
  assert.equal(parser.pendingBytes, 50);
  parser.reset();
  assert.equal(parser.pendingBytes, 0);
  assert.equal(parser.push(PING).length, 1);
});
