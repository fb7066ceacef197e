import assert from "node:assert/strict";
import { BusError } from "../bus.ts";
import { EmulatorHost } from "../emulator/emulator_host.ts";
import { viperXServos } from "../emulator/viperx_arm.ts";
import { BuiltinBus } from "./builtin_bus.ts";
import { ORDER, ScriptedLine } from "./scripted_line.ts";

// What the embedded driver has beyond the contract that both drivers keep.

const IDS = [1, 2, 3, 4, 5, 6, 7, 8, 9];
const LINE = { baudRate: 1_000_000, latencyMs: 60 } as const;
const test = (name: string, fn: () => Promise<void>) =>
  Deno.test({ name, ignore: Deno.build.os !== "linux", fn });

test("BuiltinBus.fastSyncRead() reads what syncRead() reads, with one packet", async () => {
  await using host = await EmulatorHost.start([{ servos: viperXServos() }]);
  using bus = new BuiltinBus({ ...LINE, port: host.ports[0], retries: 0 });
  assert.deepEqual(bus.fastSyncRead(132, 4, IDS), bus.syncRead(132, 4, IDS));
  assert.deepEqual(bus.fastSyncRead(132, 4, [7]), bus.syncRead(132, 4, [7]));
  assert.deepEqual(bus.fastSyncRead(132, 4, []), []);
});

test("BuiltinBus asks each servo when the joint answer is missing or broken", async () => {
  await using line = await ScriptedLine.open(IDS);
  using bus = new BuiltinBus({ ...LINE, port: line.port, hasFastSyncRead: true });
  const faults = () => bus.syncRead(132, 4, IDS).filter(({ fault }) => fault !== undefined);
  assert.deepEqual(faults(), []);
  assert.equal(line.requests, 1);
  line.order(ORDER.corruptions, 1);
  assert.deepEqual(faults(), []);
  line.order(ORDER.drops, 1);
  assert.deepEqual(faults(), []);
  assert.equal(line.requests, 5);
  line.order(ORDER.vanishedId, 2);
  assert.deepEqual(faults(), [{ id: 2, fault: "timeout" }]);
});

test("BuiltinBus begins no attempt that its budget does not cover", async () => {
  await using line = await ScriptedLine.open(IDS);
  using bus = new BuiltinBus({ ...LINE, port: line.port, retries: 5, budgetMs: 70 });
  line.order(ORDER.drops, 1);
  assert.throws(() => bus.read(1, 132, 4), BusError);
  assert.equal(line.requests, 1);
  line.order(ORDER.drops, 9);
  assert.ok(bus.syncRead(132, 4, IDS).every(({ fault }) => fault === "timeout"));
  assert.equal(line.requests, 2);
});

test("BuiltinBus names what is wrong with a port", async () => {
  const open = (port: string) => () => new BuiltinBus({ ...LINE, port });
  assert.throws(open("/dev/tty-that-is-not-there"), {
    name: "BusError",
    fault: "device",
    message: /Cannot open \/dev\/tty-that-is-not-there: there is no such device; plug in/,
  });
  const file = await Deno.makeTempFile();
  try {
    assert.throws(open(file), { fault: "device", message: /it is no serial port/ });
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("BuiltinBus refuses options out of range before it opens anything", () => {
  for (
    const option of [
      { baudRate: 0 },
      { baudRate: NaN },
      { retries: -1 },
      { retries: 11 },
      { latencyMs: 0 },
      { budgetMs: 0 },
      { returnDelayMs: 1 },
    ]
  ) {
    assert.throws(() => new BuiltinBus({ ...LINE, port: "/dev/none", ...option }), RangeError);
  }
});
