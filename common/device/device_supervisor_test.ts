import assert from "node:assert/strict";
import type { Logger } from "../types.ts";
import {
  DeviceSupervisor,
  type DeviceSupervisorOptions,
  MAX_WASM_PARAMETERS,
} from "./device_supervisor.ts";
import { GpuLostError, GpuMemoryError, GpuUnavailableError } from "./errors.ts";

const LOST = new GpuLostError("Some GPU 4000", "device was lost");
const SAID =
  "The GPU Some GPU 4000 is lost (device was lost): what was on it must be uploaded to " +
  "a new device";

/** A supervisor whose devices are words, with everything that it did. */
function supervise(changes: Partial<DeviceSupervisorOptions> = {}) {
  const did: string[] = [];
  const clock = { ms: 0 };
  const warn = (line: string) => void did.push(`says: ${line}`);
  const logger: Logger = { info: assert.fail, warn, error: assert.fail };
  const note = (what: string) => () => Promise.resolve(void did.push(what));
  const supervisor = new DeviceSupervisor({
    openGpu: note("opens the GPU"),
    useWasm: note("uses wasm"),
    parameterCount: 1e6,
    now: () => clock.ms,
    logger,
    ...changes,
  });
  supervisor.onRebuilt((device) => note(`uploads to ${device}`)());
  return { supervisor, did, clock };
}

Deno.test("DeviceSupervisor opens the GPU again and has everything uploaded, in order", async () => {
  const { supervisor, did } = supervise();
  using _second = supervisor.onRebuilt(() => Promise.resolve(void did.push("uploads the cache")));
  assert.equal(await supervisor.recover(LOST), "webgpu");
  assert.deepEqual(did, [
    "opens the GPU",
    "uploads to webgpu",
    "uploads the cache",
    `says: ${SAID}: done, rebuild 1 of at most 3`,
  ]);
});

Deno.test("DeviceSupervisor calls nobody who is not interested any more", async () => {
  const { supervisor } = supervise();
  {
    using _gone = supervisor.onRebuilt(() => assert.fail("is gone"));
  }
  await supervisor.recover(LOST);
});

Deno.test("DeviceSupervisor recovers once for all who noticed the same loss", async () => {
  const { supervisor, did } = supervise();
  const recoveries = [LOST, LOST, LOST].map((lost) => supervisor.recover(lost));
  assert.deepEqual(await Promise.all(recoveries), ["webgpu", "webgpu", "webgpu"]);
  assert.equal(did.filter((what) => what === "opens the GPU").length, 1);
});

Deno.test("DeviceSupervisor goes on in wasm when the GPU is lost too often", async () => {
  const { supervisor, did } = supervise({ maxRebuilds: 2 });
  for (const device of ["webgpu", "webgpu", "wasm", "wasm"]) {
    assert.equal(await supervisor.recover(LOST), device);
    assert.equal(supervisor.device, device);
  }
  assert.deepEqual(did.slice(-3), [
    "uses wasm",
    "uploads to wasm",
    `says: ${SAID}, but it was lost 3 times within 60 min: the policy goes on in WebAssembly`,
  ]);
});

Deno.test("DeviceSupervisor forgets losses of long ago", async () => {
  const { supervisor, clock } = supervise({ maxRebuilds: 1, windowMs: 1000 });
  for (let i = 0; i < 5; i++, clock.ms += 1000) {
    assert.equal(await supervisor.recover(LOST), "webgpu");
  }
  clock.ms -= 1;
  assert.equal(await supervisor.recover(LOST), "wasm");
});

Deno.test("DeviceSupervisor goes on in wasm when there is no GPU any more", async () => {
  const openGpu = () =>
    Promise.reject(new GpuUnavailableError("no-adapter", "no adapter was found", "mend it"));
  const { supervisor, did } = supervise({ openGpu });
  assert.equal(await supervisor.recover(LOST), "wasm");
  assert.equal(
    did.at(-1),
    `says: ${SAID}, but no adapter was found: the policy goes on in WebAssembly`,
  );
});

Deno.test("DeviceSupervisor ends where the policy is too large for wasm", async () => {
  const { supervisor, did } = supervise({ maxRebuilds: 0, parameterCount: 2.92e9 });
  await assert.rejects(supervisor.recover(LOST), {
    message: `${SAID}, but it was lost once within 60 min; a policy of 2920.0 M parameters is ` +
      "too slow on WebAssembly, which takes at most 16.0 M: mend the GPU or its driver and start " +
      "again",
  });
  assert.deepEqual(did, []);
  const largest = supervise({ maxRebuilds: 0, parameterCount: MAX_WASM_PARAMETERS });
  assert.equal(await largest.supervisor.recover(LOST), "wasm");
});

Deno.test("DeviceSupervisor counts a loss in the middle of an upload", async () => {
  const { supervisor, did } = supervise({ maxRebuilds: 2 });
  using _user = supervisor.onRebuilt((device) =>
    device === "wasm" ? Promise.resolve() : Promise.reject(LOST)
  );
  assert.equal(await supervisor.recover(LOST), "wasm");
  assert.equal(did.filter((what) => what === "opens the GPU").length, 2);
});

Deno.test("DeviceSupervisor goes on in wasm when the new device has no room", async () => {
  const { supervisor, did } = supervise();
  using _user = supervisor.onRebuilt((device) =>
    device === "wasm" ? Promise.resolve() : Promise.reject(new GpuMemoryError("It is full"))
  );
  assert.equal(await supervisor.recover(LOST), "wasm");
  assert.equal(did.at(-1), `says: ${SAID}; It is full: the policy goes on in WebAssembly`);
});

Deno.test("DeviceSupervisor lets pass what else goes wrong in an upload", async () => {
  const { supervisor } = supervise();
  let isBroken = true;
  using _user = supervisor.onRebuilt(() =>
    isBroken ? Promise.reject(new Error("the checkpoint is gone")) : Promise.resolve()
  );
  await assert.rejects(supervisor.recover(LOST), /the checkpoint is gone/);
  isBroken = false;
  assert.equal(await supervisor.recover(LOST), "webgpu");
});
