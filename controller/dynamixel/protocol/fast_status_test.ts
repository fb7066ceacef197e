import assert from "node:assert/strict";
import { decodeFastStatus, encodeFastStatus } from "./fast_status.ts";
import { StatusParser } from "./parser.ts";
import { bytesOf, concat, readGoldens } from "./testing.ts";

Deno.test("encodeFastStatus() makes the joint answers of the e-manual", () => {
  const sync = encodeFastStatus([
    { id: 3, error: 0, data: bytesOf("A6 00 00 00") },
    { id: 7, error: 0, data: bytesOf("1F 08 00 00") },
    { id: 4, error: 0, data: bytesOf("FF 03 00 00") },
  ]);
  assert.deepEqual(
    sync,
    bytesOf(
      "FF FF FD 00 FE 19 00 55 00 03 A6 00 00 00 84 08 00 07 1F 08 00 00 16 CA" +
        "00 04 FF 03 00 00 D1 9E",
    ),
  );
  const bulk = encodeFastStatus([
    { id: 3, error: 0, data: bytesOf("A6 00 00 00") },
    { id: 7, error: 0, data: bytesOf("A5 01") },
    { id: 4, error: 0, data: bytesOf("1F") },
  ]);
  assert.deepEqual(
    bulk,
    bytesOf(
      "FF FF FD 00 FE 14 00 55 00 03 A6 00 00 00 67 A4 00 07 A5 01 24 74 00 04 1F D9 C1",
    ),
  );
});

Deno.test("joint answers agree with ROBOTIS' library both ways, unstuffed data included", () => {
  for (const { blocks, packet } of readGoldens().fastStatuses) {
    assert.deepEqual(encodeFastStatus(blocks), packet);
    const [status] = new StatusParser().push(packet);
    const expected = blocks.map(({ id, data }) => ({ id, length: data.length }));
    assert.deepEqual(decodeFastStatus(status, expected), blocks);
  }
});

Deno.test("StatusParser believes the length of a joint answer that holds a header", () => {
  const header = bytesOf("FF FF FD 00 01 07 00 55");
  const packet = encodeFastStatus([{ id: 1, error: 0, data: header }]);
  const parser = new StatusParser();
  assert.equal(parser.push(concat([packet, packet])).length, 2);
  assert.equal(parser.counts.malformed, 0);
});

Deno.test("decodeFastStatus() refuses an answer to another request", () => {
  const data = bytesOf("01 02 03 04");
  const packet = encodeFastStatus([{ id: 1, error: 0, data }, { id: 2, error: 0, data }]);
  const [status] = new StatusParser().push(packet);
  const [one, two, three] = [1, 2, 3].map((id) => ({ id, length: 4 }));
  assert.equal(decodeFastStatus(status, [one, two])?.length, 2);
  for (const expected of [[two, one], [one], [one, two, three], [one, { id: 2, length: 2 }], []]) {
    assert.equal(decodeFastStatus(status, expected), undefined);
  }
  assert.equal(decodeFastStatus({ ...status, id: 1 }, [one, two]), undefined);
  assert.throws(
    () => encodeFastStatus([{ id: 1, error: 0, data: new Uint8Array(1100) }]),
    /length 1105, at most 1024/,
  );
});
