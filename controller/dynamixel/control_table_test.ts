import assert from "node:assert/strict";
import {
  CONTROL_TABLE,
  CONTROL_TABLE_BYTES,
  type ControlItem,
  controlTableOf,
  decodeItem,
  encodeItem,
  SERVO_MODELS,
} from "./control_table.ts";

Deno.test("CONTROL_TABLE's items lie behind one another, EEPROM before RAM", () => {
  const items: ControlItem[] = Object.values(CONTROL_TABLE);
  let end = 0;
  for (const { address, bytes, area, min, max, initial } of items) {
    assert.ok(address >= end, `address ${address} overlaps the item before it`);
    assert.equal(area, address < 64 ? "eeprom" : "ram");
    // 255 switches the secondary ID off; the RAM's goals start with a limit or the present position.
    assert.ok(min <= initial && initial <= max, `initial value at ${address}`);
    end = address + bytes;
  }
  assert.equal(end, CONTROL_TABLE_BYTES);
});

Deno.test("CONTROL_TABLE has the addresses that a ViperX 300 is driven by", () => {
  const expected: [keyof typeof CONTROL_TABLE, number, number][] = [
    ["driveMode", 10, 1],
    ["secondaryId", 12, 1],
    ["homingOffset", 20, 4],
    ["maxPositionLimit", 48, 4],
    ["minPositionLimit", 52, 4],
    ["torqueEnable", 64, 1],
    ["hardwareErrorStatus", 70, 1],
    ["positionDGain", 80, 2],
    ["positionPGain", 84, 2],
    ["busWatchdog", 98, 1],
    ["goalCurrent", 102, 2],
    ["goalPosition", 116, 4],
    ["presentCurrent", 126, 2],
    ["presentPosition", 132, 4],
    ["presentTemperature", 146, 1],
  ];
  for (const [name, address, bytes] of expected) {
    assert.deepEqual([CONTROL_TABLE[name].address, CONTROL_TABLE[name].bytes], [address, bytes]);
  }
});

Deno.test("controlTableOf() gives each model its number and current", () => {
  const table = controlTableOf(SERVO_MODELS["XM430-W350"]);
  assert.equal(table.modelNumber.initial, 1020);
  assert.deepEqual([table.currentLimit.initial, table.currentLimit.max], [1193, 1193]);
  assert.equal(controlTableOf(SERVO_MODELS["XM540-W270"]).modelNumber.initial, 1120);
});

Deno.test("encodeItem() and decodeItem() are little-endian and signed where the item is", () => {
  const { goalPosition, goalCurrent, busWatchdog, returnDelayTime } = CONTROL_TABLE;
  assert.deepEqual([...encodeItem(goalPosition, 2048)], [0, 8, 0, 0]);
  for (const value of [-1_048_575, -1, 0, 4095]) {
    assert.equal(decodeItem(goalPosition, encodeItem(goalPosition, value)), value);
  }
  assert.equal(decodeItem(goalCurrent, Uint8Array.of(9, 0xff, 0xff), 1), -1);
  assert.equal(decodeItem(busWatchdog, Uint8Array.of(0xff)), -1);
  assert.equal(decodeItem(returnDelayTime, Uint8Array.of(0xfa)), 250);
});

Deno.test("encodeItem() and decodeItem() refuse what does not fit", () => {
  const { goalPosition, returnDelayTime } = CONTROL_TABLE;
  assert.throws(() => encodeItem(returnDelayTime, 256), /Cannot encode 256 .* 0…255/);
  for (const value of [NaN, 1.5, Infinity, 2 ** 31]) {
    assert.throws(() => encodeItem(goalPosition, value), RangeError);
  }
  assert.throws(() => decodeItem(goalPosition, new Uint8Array(3)), /3 bytes, expected 4/);
});
