import assert from "node:assert/strict";
import fc from "fast-check";
import { BuiltinBus } from "./builtin/builtin_bus.ts";
import { ORDER, ScriptedLine } from "./builtin/scripted_line.ts";
import { BusError, type BusFault, type DynamixelBus } from "./bus.ts";
import { CONTROL_TABLE, encodeItem } from "./control_table.ts";
import { EmulatorHost } from "./emulator/emulator_host.ts";
import { viperXServos } from "./emulator/viperx_arm.ts";
import { DXL_LIBRARY_VARIABLE, findDxlLibrary, isFile } from "./sdk/find_library.ts";
import { stuff } from "./protocol/packet.ts";
import { SdkBus } from "./sdk/sdk_bus.ts";

// What every driver owes, against real packets on pseudo-terminals: the servo emulator for what servos
// do, scripted servos for one fault at one moment.

interface Settings {
  readonly port: string;
  readonly retries?: number;
}

/** Opens a bus with the driver under test. */
type OpenDriver = (settings: Settings) => DynamixelBus;

const IDS = [1, 2, 3, 4, 5, 6, 7, 8, 9];
const LINE = { baudRate: 1_000_000, latencyMs: 60 } as const; // the test machine may be busy
const { presentPosition, profileVelocity, driveMode, torqueEnable } = CONTROL_TABLE;

const faultIs = (fault: BusFault) => (error: unknown) =>
  error instanceof BusError && error.fault === fault;
const faultsOf = (bus: DynamixelBus) =>
  bus.syncRead(132, 4, IDS).flatMap(({ id, fault }) => fault === undefined ? [] : [[id, fault]]);

/** How often this process has a device open; the other tests of the process have other devices. */
function timesOpen(port: string): number {
  const script = `ls -l /proc/${Deno.pid}/fd | grep -c -- "-> $(readlink -f ${port})$"`;
  const { stdout } = new Deno.Command("sh", { args: ["-c", script] }).outputSync();
  return Number(new TextDecoder().decode(stdout));
}

function testContract(name: string, open: OpenDriver): void {
  const test = (claim: string, run: () => Promise<void>) => Deno.test(`${name} ${claim}`, run);

  test("pings servos, one and all", async () => {
    await using host = await EmulatorHost.start([{ servos: viperXServos() }]);
    using bus = open({ port: host.ports[0] });
    assert.deepEqual(bus.ping(9), { error: 0, model: 1020, firmware: 45 });
    const everybody = bus.broadcastPing();
    assert.deepEqual(everybody.map(({ id }) => id), IDS);
    assert.deepEqual(new Set(everybody.map(({ model }) => model)), new Set([1120, 1020]));
  });

  test("reads what it has written, whatever the size and the bytes", async () => {
    await using line = await ScriptedLine.open(IDS);
    using bus = open({ port: line.port });
    // Many FF and FD, which must be stuffed on the wire.
    const byte = fc.oneof(fc.constantFrom(0xff, 0xfd), fc.integer({ min: 0, max: 255 }));
    const bytes = fc.array(byte, { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(bytes, fc.constantFrom(...IDS), (values, id) => {
        const isStuffed = stuff(Uint8Array.from(values)).length > values.length;
        if (isStuffed && bus.driver === "sdk") {
          assert.throws(() => bus.write(id, 64, Uint8Array.from(values)), faultIs("refused"));
          return;
        }
        assert.deepEqual(bus.write(id, 64, Uint8Array.from(values)), { error: 0 });
        const { error, data } = bus.read(id, 64, values.length);
        assert.deepEqual([error, [...data]], [0, values]);
      }),
      { numRuns: 40 },
    );
    for (const length of [1, 2, 4]) assert.equal(bus.read(1, 64, length).data.length, length);
  });

  test("writes and reads nine servos at once, and any of them in any order", async () => {
    await using host = await EmulatorHost.start([{ servos: viperXServos() }]);
    using bus = open({ port: host.ports[0] });
    const { address, bytes } = profileVelocity;
    const rows = new Map(IDS.map((id) => [id, encodeItem(profileVelocity, 20 + id)]));
    bus.syncWrite(address, bytes, rows);
    const expected = IDS.map((id) => ({ id, error: 0, data: rows.get(id) }));
    assert.deepEqual(bus.syncRead(address, bytes, IDS), expected);
    assert.deepEqual(bus.syncRead(address, bytes, [9, 1]), [expected[8], expected[0]]);
    // Ten bytes of one moment: current, velocity, position.
    assert.deepEqual(bus.syncRead(126, 10, IDS).map(({ data }) => data?.length), IDS.map(() => 10));
    assert.deepEqual(bus.syncRead(address, bytes, []), []);
    bus.syncWrite(address, bytes, new Map());
  });

  test("is quick with nine servos", async () => {
    await using line = await ScriptedLine.open(IDS);
    using bus = open({ port: line.port });
    const times: number[] = [];
    for (let round = 0; round < 200; round++) {
      const startedAt = performance.now();
      bus.syncWrite(132, 4, new Map(IDS.map((id) => [id, Uint8Array.of(id, round, 3, 4)])));
      const readings = bus.syncRead(132, 4, IDS);
      times.push(performance.now() - startedAt);
      readings.forEach(({ id, data }) => assert.deepEqual(data, Uint8Array.of(id, round, 3, 4)));
    }
    times.sort((a, b) => a - b);
    console.log(`${name}: sync write + sync read of 9 servos, median ${times[100].toFixed(3)} ms`);
  });

  test("tells a servo that is missing from those that are well", async () => {
    await using host = await EmulatorHost.start([{ servos: viperXServos() }]);
    using bus = open({ port: host.ports[0] });
    await host.command(0, { kind: "vanish", id: 4 });
    assert.deepEqual(faultsOf(bus), [[4, "timeout"]]);
    assert.throws(() => bus.ping(4), faultIs("timeout"));
    assert.throws(() => bus.read(4, 132, 4), /Cannot read 4 bytes at 132 of servo 4 .*no answer/);
    assert.throws(() => bus.write(4, 64, Uint8Array.of(1)), faultIs("timeout"));
    assert.equal(bus.ping(5).error, 0);
    assert.ok(!bus.broadcastPing().some(({ id }) => id === 4));
    await host.command(0, { kind: "bringBack", id: 4, hasLostPower: false });
    assert.deepEqual(faultsOf(bus), []);
  });

  test("passes on the error byte of a refusal and of a hardware alert", async () => {
    await using host = await EmulatorHost.start([{ servos: viperXServos() }]);
    using bus = open({ port: host.ports[0] });
    assert.deepEqual(bus.write(1, torqueEnable.address, Uint8Array.of(1)), { error: 0 });
    assert.deepEqual(bus.write(1, driveMode.address, Uint8Array.of(0)), { error: 7 });
    assert.deepEqual(bus.read(1, 2000, 4), { error: 7, data: new Uint8Array() });
    assert.deepEqual(bus.syncRead(2000, 4, [1, 2]), [{ id: 1, error: 7 }, { id: 2, error: 7 }]);
    await host.command(0, { kind: "hardwareError", id: 6, bits: 0x20 });
    assert.equal(bus.ping(6).error, 0x80);
    assert.equal(bus.read(6, presentPosition.address, 4).error, 0x80);
    const [well, ill] = bus.syncRead(presentPosition.address, 4, [1, 6]);
    assert.deepEqual([well.error, ill.error, ill.data?.length], [0, 0x80, 4]);
  });

  test("restarts a servo, which clears its alert", async () => {
    await using host = await EmulatorHost.start([{ servos: viperXServos() }]);
    using bus = open({ port: host.ports[0] });
    await host.command(0, { kind: "hardwareError", id: 9, bits: 0x20 });
    assert.equal(bus.reboot(9).error, 0x80);
    await host.command(0, { kind: "advance", ms: 5_000 });
    bus.ping(1); // lets the emulator see the new time
    assert.equal(bus.ping(9).error, 0);
  });

  test("asks again when an answer is lost or broken, and gives up in the end", async () => {
    await using line = await ScriptedLine.open(IDS);
    using bus = open({ port: line.port, retries: 1 });
    for (const order of [ORDER.drops, ORDER.corruptions]) {
      const fault = order === ORDER.drops ? "timeout" : "corrupt";
      const exchanges = [
        () => bus.read(3, 132, 4),
        () => bus.write(3, 64, Uint8Array.of(1)),
        () => bus.read(3, 132, 2),
      ];
      for (const exchange of exchanges) {
        line.order(order, 1);
        assert.equal(exchange().error, 0);
        line.order(order, 2);
        assert.throws(exchange, faultIs(fault));
      }
      const before = bus.retryCount;
      line.order(order, 1);
      assert.deepEqual(faultsOf(bus), []);
      assert.equal(bus.retryCount - before, 1);
      line.order(order, 10); // nine answers and the first of those asked again
      assert.deepEqual(faultsOf(bus).length, 1);
    }
    assert.deepEqual(faultsOf(bus), []);
  });

  test("tells a servo that it cannot hear what to do", async () => {
    await using line = await ScriptedLine.open([1]);
    using bus = open({ port: line.port, retries: 1 });
    bus.write(1, 64, Uint8Array.of(1));
    line.order(ORDER.drops, 1_000);
    assert.throws(() => bus.read(1, 132, 4), faultIs("timeout"));
    assert.throws(() => bus.write(1, 64, Uint8Array.of(0)), faultIs("timeout"));
    line.order(ORDER.drops, 0);
    assert.deepEqual([...bus.read(1, 64, 1).data], [0]);
  });

  test("takes no late answer for the answer to another question", async () => {
    await using line = await ScriptedLine.open([1]);
    using bus = open({ port: line.port, retries: 1 });
    const addresses = Array.from({ length: 8 }, (_, i) => 64 + i);
    bus.write(1, 64, Uint8Array.from(addresses));
    const readAll = () =>
      addresses.map((address) => {
        try {
          return bus.read(1, address, 1).data[0];
        } catch (error) {
          assert.ok(faultIs("timeout")(error), `${error}`);
          return undefined;
        }
      });
    // Later than a driver waits, but not later than it waits for two answers one after the other.
    for (const delayMs of [40, 75, 100]) {
      line.order(ORDER.delayMs, delayMs);
      const late = readAll();
      assert.ok(late.every((value, i) => value === undefined || value === addresses[i]), `${late}`);
      line.order(ORDER.delayMs, 0);
      assert.deepEqual(readAll(), addresses);
      line.order(ORDER.delayMs, delayMs);
      bus.syncRead(64, 1, [1]);
      line.order(ORDER.delayMs, 0);
      assert.deepEqual(readAll(), addresses);
    }
  });

  test("keeps to the bounds of a single group read", async () => {
    await using line = await ScriptedLine.open(IDS);
    using bus = open({ port: line.port, retries: 1 });
    line.order(ORDER.drops, 1);
    const bounded = bus.syncRead(132, 4, IDS, { latencyMs: 50, budgetMs: 1 });
    assert.deepEqual(bounded.map(({ fault }) => fault), [
      "timeout",
      ...IDS.slice(1).map(() => undefined),
    ]);
    assert.equal(bus.retryCount, 0);
    assert.throws(() => bus.syncRead(132, 0, IDS, { latencyMs: 50 }), RangeError);
    line.order(ORDER.drops, 1);
    assert.deepEqual(faultsOf(bus), [], "the next read has the bus's own bounds");
    assert.equal(bus.retryCount, 1);
  });

  test("asks once when it may not ask again, and never repeats a restart", async () => {
    await using line = await ScriptedLine.open(IDS);
    {
      using bus = open({ port: line.port, retries: 0 });
      line.order(ORDER.corruptions, 1);
      assert.deepEqual(faultsOf(bus), [[1, "corrupt"]]);
      line.order(ORDER.drops, 1);
      assert.throws(() => bus.read(3, 132, 4), faultIs("timeout"));
    }
    using bus = open({ port: line.port, retries: 3 });
    const before = line.requests;
    line.order(ORDER.drops, 1);
    assert.throws(() => bus.reboot(2), faultIs("timeout"));
    assert.equal(line.requests - before, 1);
  });

  test("finds the answer behind garbage", async () => {
    await using line = await ScriptedLine.open(IDS);
    using bus = open({ port: line.port, retries: 0 });
    line.order(ORDER.garbage, 1);
    assert.equal(bus.ping(2).model, 1020);
    line.order(ORDER.garbage, 1);
    assert.equal(bus.read(2, 132, 4).data.length, 4);
    line.order(ORDER.garbage, 20);
    assert.deepEqual(faultsOf(bus), []);
    assert.equal(bus.broadcastPing().length, 9);
  });

  test("says that the device is gone when it is unplugged", async () => {
    await using line = await ScriptedLine.open(IDS);
    using bus = open({ port: line.port });
    assert.deepEqual(faultsOf(bus), []);
    line.unplug();
    const rows = new Map([[1, Uint8Array.of(1)]]);
    for (
      const call of [
        () => bus.ping(1),
        () => bus.broadcastPing(),
        () => bus.read(1, 132, 4),
        () => bus.write(1, 64, Uint8Array.of(1)),
        () => bus.syncWrite(64, 1, rows),
        () => bus.syncRead(132, 4, IDS),
        () => bus.reboot(1),
      ]
    ) assert.throws(call, faultIs("device"));
  });

  test("refuses what no servo can be asked", async () => {
    await using line = await ScriptedLine.open([1]);
    using bus = open({ port: line.port });
    for (
      const call of [
        () => bus.ping(253),
        () => bus.read(254, 132, 4),
        () => bus.read(1, -1, 4),
        () => bus.read(1, 132, 0),
        () => bus.write(1, 64, new Uint8Array()),
        () => bus.syncWrite(64, 1, new Map([[1, Uint8Array.of(1, 2)]])),
        () => bus.syncRead(132, 4, [1, 1]),
        () => bus.reboot(0.5),
      ]
    ) assert.throws(call, RangeError);
    assert.equal(line.requests, 0);
  });

  test("shuts others out while it is open, and nobody afterwards", async () => {
    await using line = await ScriptedLine.open([1]);
    {
      using _bus = open({ port: line.port });
      assert.throws(() => open({ port: line.port }), faultIs("busy"));
    }
    using bus = open({ port: line.port });
    assert.equal(bus.ping(1).model, 1020);
  });

  test("leaves no file open", async () => {
    await using line = await ScriptedLine.open(IDS);
    const before = timesOpen(line.port);
    for (let round = 0; round < 5; round++) {
      using bus = open({ port: line.port });
      assert.deepEqual(faultsOf(bus), []);
      assert.ok(timesOpen(line.port) > before);
      assert.throws(() => open({ port: line.port }), BusError);
      assert.throws(() => open({ port: "/dev/tty-that-is-not-there" }), faultIs("device"));
    }
    assert.equal(timesOpen(line.port), before);
  });
}

const { os, arch } = Deno.build;
const variable = Deno.env.get(DXL_LIBRARY_VARIABLE);
const finding = findDxlLibrary({ variable, os, arch, isFile });

if (os !== "linux") {
  Deno.test({ name: "Dynamixel drivers: only Linux has the emulator", ignore: true, fn() {} });
} else {
  testContract("BuiltinBus", (settings) => new BuiltinBus({ ...LINE, ...settings }));
  if (finding.path === undefined) {
    Deno.test({ name: `SdkBus: ${finding.sentence}`, ignore: true, fn() {} });
  } else {
    const library = finding.path;
    const open: OpenDriver = (settings) => new SdkBus({ ...LINE, library, ...settings });
    testContract("SdkBus", open);
    Deno.test("SdkBus serves two buses side by side", async () => {
      await using left = await ScriptedLine.open([1, 2], 1020);
      await using right = await ScriptedLine.open([1, 2], 1120);
      using leftBus = open({ port: left.port });
      assert.equal(leftBus.ping(1).model, 1020);
      using rightBus = open({ port: right.port });
      assert.equal(rightBus.ping(1).model, 1120);
      assert.equal(leftBus.ping(2).model, 1020);
      right.unplug();
      assert.throws(() => rightBus.syncRead(132, 4, [1]), faultIs("device"));
      assert.deepEqual(leftBus.syncRead(132, 4, [1, 2]).map(({ fault }) => fault), [
        undefined,
        undefined,
      ]);
    });
  }
}
