import assert from "node:assert/strict";
import { BuiltinBus } from "../builtin/builtin_bus.ts";
import { BusError } from "../bus.ts";
import { CONTROL_TABLE, decodeItem, encodeItem } from "../control_table.ts";
import { EmulatorHost } from "./emulator_host.ts";
import { NO_FAULTS } from "./faults.ts";
import { viperXServos } from "./viperx_arm.ts";

const IDS = [1, 2, 4, 6, 7, 8, 9];
const { goalPosition, presentPosition, torqueEnable, busWatchdog } = CONTROL_TABLE;
const isLinux = Deno.build.os === "linux";

function driver(port: string): BuiltinBus {
  return new BuiltinBus({ port, baudRate: 1_000_000, latencyMs: 50 });
}

function isBusError(error: unknown): boolean {
  return error instanceof BusError;
}

Deno.test({ name: "EmulatorHost serves two arms to a real driver", ignore: !isLinux }, async () => {
  await using host = await EmulatorHost.start([
    { servos: viperXServos() },
    { servos: viperXServos() },
  ]);
  assert.equal(new Set(host.ports).size, 2);
  for (const port of host.ports) {
    using bus = driver(port);
    assert.deepEqual(bus.ping(9), { error: 0, model: 1020, firmware: 45 });
    const readings = bus.syncRead(presentPosition.address, presentPosition.bytes, IDS);
    assert.deepEqual(
      readings.map(({ id, fault }) => [id, fault]),
      IDS.map((id) => [id, undefined]),
    );
    const [waist] = readings;
    assert.equal(decodeItem(presentPosition, waist.data ?? new Uint8Array()), 2048);
  }
});

Deno.test({ name: "EmulatorHost moves servos in time", ignore: !isLinux }, async () => {
  await using host = await EmulatorHost.start([{ servos: viperXServos() }]);
  using bus = driver(host.ports[0]);
  assert.deepEqual(bus.write(1, torqueEnable.address, Uint8Array.of(1)), { error: 0 });
  bus.syncWrite(goalPosition.address, 4, new Map([[1, encodeItem(goalPosition, 1000)]]));
  bus.ping(1);
  await host.command(0, { kind: "advance", ms: 2000 });
  assert.equal(await host.command(0, { kind: "get", id: 1, item: "presentPosition" }), 1000);
  bus.ping(1);
  assert.equal(Atomics.load(host.positions[0], 0), 1000);
  assert.equal(bus.write(1, CONTROL_TABLE.driveMode.address, Uint8Array.of(1)).error, 7);
});

Deno.test({ name: "EmulatorHost's faults, silence and recovery", ignore: !isLinux }, async () => {
  await using host = await EmulatorHost.start([{ servos: viperXServos(), seed: 3 }]);
  using bus = driver(host.ports[0]);
  await host.command(0, { kind: "faults", rates: { ...NO_FAULTS, drop: 1 } });
  assert.throws(() => bus.ping(1), isBusError);
  await host.command(0, { kind: "faults", rates: NO_FAULTS });
  await host.command(0, { kind: "vanish", id: 4 });
  const faults = bus.syncRead(132, 4, IDS).filter(({ fault }) => fault !== undefined);
  assert.deepEqual(faults.map(({ id }) => id), [4]);
  await host.command(0, { kind: "bringBack", id: 4, hasLostPower: false });
  assert.equal(bus.ping(4).model, 1120);
  await host.command(0, { kind: "hardwareError", id: 6, bits: 0x20 });
  assert.equal(bus.ping(6).error, 0x80);
  await host.command(0, { kind: "set", id: 6, item: "homingOffset", value: 0 });
  await host.command(0, { kind: "temperature", id: 6, temperatureC: 60 });
  await host.command(0, { kind: "surround", id: 6, change: { supplyV: 11.1 } });
  assert.deepEqual([...bus.read(6, 144, 3).data], [111, 0, 60]);
  await assert.rejects(
    host.command(0, { kind: "vanish", id: 99 }),
    /refused: Cannot find servo 99/,
  );
  const back = { kind: "advance", ms: -1 } as const;
  await assert.rejects(host.command(0, back), /Cannot advance by -1 ms, expected 0–10000/);
  await assert.rejects(host.command(1, { kind: "plug" }), /bus 1, expected 0–0/);
});

Deno.test(
  { name: "EmulatorHost's watchdog stops a servo by itself", ignore: !isLinux },
  async () => {
    await using host = await EmulatorHost.start([{ servos: viperXServos() }]);
    using bus = driver(host.ports[0]);
    bus.write(1, torqueEnable.address, Uint8Array.of(1));
    bus.write(1, busWatchdog.address, Uint8Array.of(5));
    bus.write(1, goalPosition.address, encodeItem(goalPosition, 4095));
    await host.command(0, { kind: "advance", ms: 200 });
    assert.equal(await host.command(0, { kind: "get", id: 1, item: "busWatchdog" }), -1);
    const stopped = await host.command(0, { kind: "get", id: 1, item: "presentPosition" });
    // 100 ms and at most the time of the test's own calls at 2048 ticks/s.
    assert.ok(Number(stopped) > 2048 && Number(stopped) < 3000, `${stopped}`);
    assert.equal(bus.write(1, goalPosition.address, encodeItem(goalPosition, 2048)).error, 4);
  },
);

Deno.test({ name: "EmulatorHost's bus goes away and comes back", ignore: !isLinux }, async () => {
  const folder = Deno.makeTempDirSync();
  const linkPath = `${folder}/ttyDXL_puppet_left`;
  {
    await using host = await EmulatorHost.start([{ servos: viperXServos(), linkPath }]);
    assert.deepEqual(host.ports, [linkPath]);
    {
      using bus = driver(linkPath);
      bus.ping(1);
      await host.command(0, { kind: "unplug" });
      assert.throws(() => bus.ping(1), isBusError);
    }
    assert.throws(() => driver(linkPath), isBusError);
    assert.equal(await host.command(0, { kind: "plug" }), linkPath);
    using bus = driver(linkPath);
    assert.equal(bus.ping(1).model, 1120);
  }
  assert.deepEqual([...Deno.readDirSync(folder)], []);
  Deno.removeSync(folder);
});

Deno.test(
  { name: "EmulatorHost says why it cannot start, and is gone after", ignore: !isLinux },
  async () => {
    const linkPath = "/nonexistent/ttyDXL";
    await assert.rejects(
      EmulatorHost.start([{ servos: viperXServos(), linkPath }]),
      /has not started: Cannot link .nonexistent.ttyDXL to .dev.pts.* its folder must exist/,
    );
    const host = await EmulatorHost.start([{ servos: viperXServos() }]);
    await host[Symbol.asyncDispose]();
    await assert.rejects(host.command(0, { kind: "plug" }), /has been stopped/);
  },
);
