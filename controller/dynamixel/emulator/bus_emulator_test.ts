import assert from "node:assert/strict";
import fc from "fast-check";
import { seededRandom } from "../../../common/random.ts";
import { CONTROL_TABLE, encodeItem } from "../control_table.ts";
import { decodeFastStatus } from "../protocol/fast_status.ts";
import { type DynamixelRequest, encodeRequest } from "../protocol/instructions.ts";
import { crc16 } from "../protocol/crc16.ts";
import { BROADCAST_ID } from "../protocol/packet.ts";
import { type StatusPacket, StatusParser } from "../protocol/parser.ts";
import { bytesOf, concat } from "../protocol/testing.ts";
import { BusEmulator } from "./bus_emulator.ts";
import { NO_FAULTS } from "./faults.ts";
import { Servo } from "./servo.ts";
import { viperXServos } from "./viperx_arm.ts";

const IDS = [1, 2, 4, 6, 7, 8, 9];
const { goalPosition, presentPosition, torqueEnable, led } = CONTROL_TABLE;

function arm(seed = 1): BusEmulator {
  const servos = viperXServos().map((options) => new Servo(options));
  return new BusEmulator({ servos, random: seededRandom(seed) });
}

function ask(bus: BusEmulator, request: DynamixelRequest, nowMs = 0): StatusPacket[] {
  const answers = bus.receive(encodeRequest(request), nowMs);
  return new StatusParser().push(concat(answers.map(({ bytes }) => bytes)));
}

const readPosition = { address: presentPosition.address, length: 4, ids: IDS };

Deno.test("BusEmulator answers a ping with the model, and a broadcast one by ID", () => {
  const bus = arm();
  assert.deepEqual(ask(bus, { kind: "ping", id: 9 }), [
    { id: 9, error: 0, params: Uint8Array.of(0xfc, 0x03, 45) },
  ]);
  const all = ask(bus, { kind: "ping", id: BROADCAST_ID }, 100);
  assert.deepEqual(all.map(({ id }) => id), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(all[0].params.subarray(0, 2), Uint8Array.of(0x60, 0x04));
  assert.deepEqual(ask(bus, { kind: "ping", id: 77 }, 200), []);
});

Deno.test("BusEmulator answers a sync read in the order of the request at the line's rate", () => {
  const bus = arm();
  const request = encodeRequest({ kind: "syncRead", ...readPosition, ids: [9, 1, 4] });
  const answers = bus.receive(request, 1000);
  const statuses = new StatusParser().push(concat(answers.map(({ bytes }) => bytes)));
  assert.deepEqual(statuses.map(({ id }) => id), [9, 1, 4]);
  // 17 bytes out, then 15 for each: 10 µs a byte at 1 Mbit/s, no return delay.
  assert.equal(request.length, 17);
  const times = answers.map(({ atMs }) => Math.round((atMs - 1000) * 1000));
  assert.deepEqual(times, [320, 470, 620]);
});

Deno.test("BusEmulator waits Return_Delay_Time and for a line that is busy", () => {
  const bus = arm();
  bus.servo(1).set("returnDelayTime", 250);
  const [first] = bus.receive(encodeRequest({ kind: "ping", id: 1 }), 0);
  // 10 bytes, 500 µs, 14 bytes.
  assert.equal(Math.round(first.atMs * 1000), 100 + 500 + 140);
  const [second] = bus.receive(encodeRequest({ kind: "ping", id: 2 }), 0.3);
  assert.equal(Math.round(second.atMs * 1000), 740 + 100 + 140);
});

Deno.test("BusEmulator moves shadows with their servo, and they say nothing", () => {
  const bus = arm();
  assert.equal(bus.servo(2).get("presentPosition"), bus.servo(3).get("presentPosition"));
  const on = ask(bus, { kind: "write", id: 2, address: torqueEnable.address, data: bytesOf("01") });
  assert.deepEqual(on.map(({ id }) => id), [2]);
  assert.equal(bus.servo(3).get("torqueEnable"), 1);
  const rows = new Map([[2, encodeItem(goalPosition, 1500)], [9, encodeItem(goalPosition, 1)]]);
  assert.deepEqual(ask(bus, { kind: "syncWrite", address: 116, length: 4, rows }, 1), []);
  bus.advance(3000);
  for (const id of [2, 3]) assert.equal(bus.servo(id).get("presentPosition"), 1500);
  // Mirrored on the joint, they turn against each other.
  assert.equal(bus.servo(2).shaftTicks, 4096 - bus.servo(3).shaftTicks);
  assert.deepEqual(
    ask(bus, { kind: "syncRead", address: 132, length: 4, ids: [3] }, 3000).length,
    1,
  );
});

Deno.test("BusEmulator gives bulk reads and writes their own addresses", () => {
  const bus = arm();
  const rows = [{ id: 1, address: led.address, data: bytesOf("01") }, {
    id: 8,
    address: 84,
    data: bytesOf("2C 01"),
  }];
  assert.deepEqual(ask(bus, { kind: "bulkWrite", rows }), []);
  const items = [{ id: 8, address: 84, length: 2 }, { id: 1, address: led.address, length: 1 }];
  const answers = ask(bus, { kind: "bulkRead", items }, 10);
  assert.deepEqual(answers.map(({ id, params }) => [id, ...params]), [[8, 0x2c, 1], [1, 1]]);
  const [joint] = ask(bus, { kind: "fastBulkRead", items }, 20);
  assert.deepEqual(decodeFastStatus(joint, items)?.map(({ data }) => [...data]), [[0x2c, 1], [1]]);
});

Deno.test("BusEmulator answers a fast sync read in one packet with each servo's error byte", () => {
  const bus = arm();
  bus.servo(4).raiseHardwareError(0x20);
  const answers = bus.receive(encodeRequest({ kind: "fastSyncRead", ...readPosition }), 0);
  assert.equal(answers.length, 1);
  const [status] = new StatusParser().push(answers[0].bytes);
  const blocks = decodeFastStatus(status, IDS.map((id) => ({ id, length: 4 })));
  assert.deepEqual(
    blocks?.map(({ id, error }) => [id, error]),
    IDS.map((id) => [
      id,
      id === 4 ? 0x80 : 0,
    ]),
  );
  const slow = bus.receive(encodeRequest({ kind: "syncRead", ...readPosition }), 100);
  assert.ok(answers[0].atMs < slow[slow.length - 1].atMs - 100);
});

Deno.test("BusEmulator breaks a fast answer off at a servo that is missing", () => {
  const bus = arm();
  bus.vanish(4);
  const [broken] = bus.receive(encodeRequest({ kind: "fastSyncRead", ...readPosition }), 0);
  assert.equal(broken.bytes.length, 8 + 2 * 8);
  assert.deepEqual(new StatusParser().push(broken.bytes), []);
  bus.vanish(1);
  assert.deepEqual(bus.receive(encodeRequest({ kind: "fastSyncRead", ...readPosition }), 10), []);
  bus.bringBack(1, 15);
  bus.bringBack(4, 15);
  bus.servo(2).set("firmwareVersion", 44);
  const [old] = bus.receive(encodeRequest({ kind: "fastSyncRead", ...readPosition }), 16);
  assert.equal(old.bytes.length, 8 + 8, "a servo with old firmware does not know fast reads");
  bus.vanish(1);
  bus.vanish(4);
  // A plain sync read goes on with the others.
  const ids = ask(bus, { kind: "syncRead", ...readPosition }, 20).map(({ id }) => id);
  assert.deepEqual(ids, [2, 6, 7, 8, 9]);
});

Deno.test("BusEmulator brings a servo back with or without its power", () => {
  const bus = arm();
  ask(bus, { kind: "write", id: 6, address: torqueEnable.address, data: bytesOf("01") });
  bus.vanish(6);
  assert.deepEqual(ask(bus, { kind: "ping", id: 6 }, 10), []);
  bus.bringBack(6, 20);
  assert.equal(ask(bus, { kind: "ping", id: 6 }, 20).length, 1);
  assert.equal(bus.servo(6).get("torqueEnable"), 1);
  bus.vanish(6);
  bus.bringBack(6, 30, true);
  assert.deepEqual(ask(bus, { kind: "ping", id: 6 }, 40), [], "it starts for a while");
  assert.equal(ask(bus, { kind: "ping", id: 6 }, 400).length, 1);
  assert.equal(bus.servo(6).get("torqueEnable"), 0);
});

Deno.test("BusEmulator obeys Status_Return_Level", () => {
  const bus = arm();
  const set = (level: number, nowMs: number) =>
    ask(bus, { kind: "write", id: 1, address: 68, data: Uint8Array.of(level) }, nowMs).length;
  const read = { kind: "read", id: 1, address: 132, length: 4 } as const;
  assert.equal(set(1, 0), 0);
  assert.equal(ask(bus, read, 10).length, 1);
  assert.equal(set(0, 20), 0);
  assert.equal(ask(bus, read, 30).length, 0);
  assert.equal(ask(bus, { kind: "syncRead", ...readPosition, ids: [1, 2] }, 35).length, 1);
  assert.equal(ask(bus, { kind: "ping", id: 1 }, 40).length, 1);
  assert.equal(set(2, 50), 1);
});

Deno.test("BusEmulator says what is wrong with an instruction", () => {
  const bus = arm();
  const raw = (hex: string, nowMs: number) =>
    new StatusParser().push(concat(bus.receive(bytesOf(hex), nowMs).map(({ bytes }) => bytes)));
  // Factory reset of ID 1 with parameter 2, as ROBOTIS' library sends it.
  const reset = raw(`FF FF FD 00 01 04 00 06 02 ${crcOf("010400 06 02")}`, 0);
  assert.deepEqual(reset.map(({ error }) => error), [1]);
  const backup = raw(`FF FF FD 00 01 03 00 20 ${crcOf("010300 20")}`, 10);
  assert.deepEqual(backup.map(({ error }) => error), [2]);
  const shortRead = raw(`FF FF FD 00 01 04 00 02 84 ${crcOf("010400 02 84")}`, 20);
  assert.deepEqual(shortRead.map(({ error }) => error), [5]);
  assert.deepEqual(ask(bus, { kind: "action", id: 1 }, 30).map(({ error }) => error), [2]);
  const beyond = ask(bus, { kind: "read", id: 1, address: 140, length: 20 }, 40);
  assert.deepEqual(beyond.map(({ error, params }) => [error, params.length]), [[7, 0]]);
  assert.deepEqual(ask(bus, { kind: "clear", id: 1 }, 50).map(({ error }) => error), [0]);
});

Deno.test("BusEmulator's servos obey a broadcast without a word", () => {
  const bus = arm();
  const all = { id: BROADCAST_ID, address: led.address, data: bytesOf("01") };
  assert.deepEqual(ask(bus, { kind: "write", ...all }), []);
  assert.ok(bus.servos.every((servo) => servo.get("led") === 1));
  assert.deepEqual(ask(bus, { kind: "regWrite", ...all, data: bytesOf("00") }, 10), []);
  assert.ok(bus.servos.every((servo) => servo.get("led") === 1));
  assert.deepEqual(ask(bus, { kind: "action", id: BROADCAST_ID }, 20), []);
  assert.ok(bus.servos.every((servo) => servo.get("led") === 0));
  assert.deepEqual(ask(bus, { kind: "read", id: BROADCAST_ID, address: 0, length: 2 }, 30), []);
});

Deno.test("BusEmulator answers a reboot with the alert still set, then is silent for a while", () => {
  const bus = arm();
  bus.servo(9).raiseHardwareError(0x20);
  assert.deepEqual(ask(bus, { kind: "reboot", id: 9 }).map(({ error }) => error), [0x80]);
  assert.deepEqual(ask(bus, { kind: "ping", id: 9 }, 100), []);
  assert.deepEqual(ask(bus, { kind: "ping", id: 9 }, 400).map(({ error }) => error), [0]);
});

Deno.test("BusEmulator's servos hear nothing at another line rate", () => {
  const servos = viperXServos().map((options) => new Servo(options));
  const slow = new BusEmulator({ servos, baudRate: 57_600 });
  assert.deepEqual(ask(slow, { kind: "ping", id: BROADCAST_ID }), []);
  assert.throws(() => new BusEmulator({ servos, baudRate: 123 }), /123 bit\/s, expected one of/);
  assert.throws(() => slow.servo(50), /Cannot find servo 50: the bus has 1,2,3/);
});

Deno.test("BusEmulator's watchdogs bite 100 ms after the last instruction", () => {
  const bus = arm();
  const write = (id: number, address: number, data: Uint8Array, nowMs: number) =>
    ask(bus, { kind: "write", id, address, data }, nowMs);
  write(BROADCAST_ID, torqueEnable.address, bytesOf("01"), 0);
  write(BROADCAST_ID, CONTROL_TABLE.busWatchdog.address, bytesOf("05"), 1);
  write(1, goalPosition.address, encodeItem(goalPosition, 4000), 2);
  // Traffic for any servo counts for all.
  for (let ms = 10; ms <= 500; ms += 50) ask(bus, { kind: "ping", id: 8 }, ms);
  assert.ok(bus.servos.every((servo) => servo.get("busWatchdog") === 5));
  bus.advance(700);
  assert.ok(bus.servos.every((servo) => servo.get("busWatchdog") === -1));
  const refused = write(1, goalPosition.address, encodeItem(goalPosition, 100), 710);
  assert.deepEqual(refused.map(({ error }) => error), [4]);
});

Deno.test("BusEmulator loses instructions and answers at the rates it is told", () => {
  const bus = arm(3);
  bus.faults = { ...NO_FAULTS, drop: 0.05, corrupt: 0.05 };
  let answered = 0;
  for (let i = 0; i < 2000; i++) answered += ask(bus, { kind: "ping", id: 1 }, i * 20).length;
  // 0.9 on the way there, 0.95 · 0.95 on the way back.
  assert.ok(answered > 1560 && answered < 1690, `${answered} of 2000`);
});

Deno.test("BusEmulator gives up an unfinished instruction after a silence", () => {
  const bus = arm();
  const ping = encodeRequest({ kind: "ping", id: 1 });
  assert.deepEqual(bus.receive(ping.subarray(0, 6), 0), []);
  assert.equal(bus.receive(ping.subarray(6), 1).length, 1, "two pieces close together");
  bus.receive(bytesOf("FF FF FD 00 01 FF 03"), 100);
  assert.equal(bus.receive(ping, 150).length, 1);
});

Deno.test("BusEmulator survives any bytes and any well-framed parameters", () => {
  const bus = arm();
  let nowMs = 0;
  const instruction = fc.constantFrom(
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    16,
    0x20,
    0x82,
    0x83,
    0x8a,
    0x92,
    0x93,
    0x9a,
  );
  const id = fc.constantFrom(1, 2, 3, 9, 50, BROADCAST_ID);
  fc.assert(
    fc.property(id, instruction, fc.uint8Array({ maxLength: 40 }), (id, instruction, params) => {
      nowMs += 5;
      bus.receive(params, nowMs);
      const head = [id, params.length + 3, 0, instruction, ...params];
      const hex = Uint8Array.from(head).toHex();
      for (const { bytes, atMs } of bus.receive(bytesOf(`FFFFFD00${hex}${crcOf(hex)}`), nowMs)) {
        assert.ok(bytes.length > 0 && atMs >= nowMs);
      }
    }),
    { numRuns: 1000, seed: 6 },
  );
  bus.advance(nowMs + 100);
});

/** Checksum, in hexadecimal, of a packet whose bytes behind the header are given. */
function crcOf(hex: string): string {
  const crc = crc16(bytesOf(`FFFFFD00 ${hex}`));
  return Uint8Array.of(crc & 0xff, crc >> 8).toHex();
}
