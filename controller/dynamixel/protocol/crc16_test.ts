import assert from "node:assert/strict";
import { crc16 } from "./crc16.ts";
import { bytesOf } from "./testing.ts";

Deno.test("crc16() gives the check value of CRC-16/BUYPASS", () => {
  assert.equal(crc16(new TextEncoder().encode("123456789")), 0xfee8);
});

Deno.test("crc16() continues from the checksum of what came before", () => {
  const packet = bytesOf("FF FF FD 00 01 03 00 01");
  assert.equal(crc16(packet), 0x4e19);
  assert.equal(crc16(packet, 3, 8, crc16(packet, 0, 3)), 0x4e19);
  assert.equal(crc16(new Uint8Array()), 0);
});
