import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeRequest, type DynamixelRequest, encodeRequest } from "./instructions.ts";
import { encodeInstruction } from "./packet.ts";
import { InstructionParser } from "./parser.ts";
import { bytesOf, readGoldens } from "./testing.ts";

Deno.test("encodeRequest() and decodeRequest() agree with ROBOTIS' library", () => {
  const { instructions } = readGoldens();
  const kinds = new Set<string>();
  for (const { request, packet } of instructions) {
    kinds.add(request.kind);
    const [parsed] = new InstructionParser().push(packet);
    assert.deepEqual(decodeRequest(parsed), request);
    if (request.kind !== "invalid") assert.deepEqual(encodeRequest(request), packet);
  }
  assert.equal(kinds.size, 14);
});

Deno.test("encodeRequest() makes the group packets of the e-manual", () => {
  assert.deepEqual(
    encodeRequest({
      kind: "syncWrite",
      address: 116,
      length: 4,
      rows: new Map([[1, bytesOf("96 00 00 00")], [2, bytesOf("AA 00 00 00")]]),
    }),
    bytesOf("FF FF FD 00 FE 11 00 83 74 00 04 00 01 96 00 00 00 02 AA 00 00 00 82 87"),
  );
  assert.deepEqual(
    encodeRequest({
      kind: "bulkWrite",
      rows: [{ id: 1, address: 32, data: bytesOf("A0 00") }, {
        id: 2,
        address: 31,
        data: bytesOf("50"),
      }],
    }),
    bytesOf("FF FF FD 00 FE 10 00 93 01 20 00 02 00 A0 00 02 1F 00 01 00 50 B7 68"),
  );
  assert.deepEqual(
    encodeRequest({ kind: "fastSyncRead", address: 132, length: 4, ids: [3, 7, 4] }),
    bytesOf("FF FF FD 00 FE 0A 00 8A 84 00 04 00 03 07 04 20 F2"),
  );
  // The e-manual prints the checksum of the packet above for its Fast Bulk Read too; the goldens have
  // the one of ROBOTIS' library.
});

Deno.test("decodeRequest() never throws and only accepts what encodes to the same packet", () => {
  const instruction = fc.oneof(
    fc.constantFrom(1, 2, 3, 4, 5, 8, 16, 0x82, 0x83, 0x8a, 0x92, 0x93, 0x9a),
    fc.integer({ min: 0, max: 255 }),
  );
  fc.assert(
    fc.property(
      instruction,
      fc.uint8Array({ maxLength: 40, max: 4 }),
      (instruction, params) => {
        const request = decodeRequest({ id: 1, instruction, params });
        if (request.kind === "invalid") return;
        const packet = encodeRequest(request);
        const [again] = new InstructionParser().push(packet);
        // A sync write that names a servo twice keeps its last row only.
        if (request.kind === "syncWrite") return;
        assert.deepEqual(decodeRequest(again), request);
      },
    ),
    { numRuns: 500, seed: 4 },
  );
});

Deno.test("decodeRequest() says why a packet is no request", () => {
  const reason = (instruction: number, params: string) => {
    const request = decodeRequest({ id: 7, instruction, params: bytesOf(params) });
    return request.kind === "invalid" ? request.reason : request.kind;
  };
  assert.equal(reason(0x06, "01"), "refused");
  assert.equal(reason(0x20, ""), "unknown");
  const wrong: [number, string][] = [
    [0x01, "00"],
    [0x02, "84 00 04"],
    [0x03, "84 00"],
    [0x04, ""],
    [0x05, "01"],
    [0x08, "01"],
    [0x10, "01 44 58 4C"],
    [0x82, "84 00 04 00"],
    [0x83, "74 00 04 00 01 96 00 00"],
    [0x83, "74 00 00 00 01 02"],
    [0x8a, ""],
    [0x92, "01 84 00 04"],
    [0x93, "01 84 00 04 00 01 02 03"],
    [0x93, "01 84"],
    [0x9a, ""],
  ];
  for (const [instruction, params] of wrong) {
    assert.equal(reason(instruction, params), "params", `${instruction}: ${params}`);
  }
});

Deno.test("encodeRequest() refuses IDs, addresses and rows that cannot be", () => {
  const refused: [DynamixelRequest, RegExp][] = [
    [{ kind: "syncRead", address: 0, length: 1, ids: [254] }, /ID 254, expected 0–252/],
    [{ kind: "read", id: 1, address: 65536, length: 1 }, /address or length 65536/],
    [
      { kind: "syncWrite", address: 0, length: 4, rows: new Map([[1, new Uint8Array(3)]]) },
      /3 bytes for ID 1, expected 4/,
    ],
    [{ kind: "ping", id: 300 }, /ID 300/],
  ];
  for (const [request, message] of refused) assert.throws(() => encodeRequest(request), message);
  assert.throws(() => encodeInstruction(1, 0x06), RangeError);
});
