import assert from "node:assert/strict";
import { join } from "node:path";
import { chooseDriver, openBus } from "./open_bus.ts";
import { ScriptedLine } from "./builtin/scripted_line.ts";

const found = () => ({ path: "/lib/dxl.so", origin: "usual place" }) as const;
const absent = () => ({ path: undefined, sentence: "It is not there" }) as const;
const isLinux = Deno.build.os === "linux";

Deno.test("chooseDriver() takes the library where it is found, else the embedded driver", () => {
  assert.deepEqual(chooseDriver({}, found), {
    driver: "sdk",
    library: "/lib/dxl.so",
    reason: "Taking ROBOTIS' library /lib/dxl.so (usual place)",
  });
  assert.deepEqual(chooseDriver({ driver: "auto" }, absent), {
    driver: "builtin",
    reason: "Taking the embedded driver: It is not there",
  });
});

Deno.test("chooseDriver() does as it is told", () => {
  assert.equal(chooseDriver({ driver: "builtin" }, found).driver, "builtin");
  assert.equal(chooseDriver({ driver: "sdk" }, found).driver, "sdk");
  assert.throws(() => chooseDriver({ driver: "sdk" }, absent), /^Error: It is not there$/);
  assert.throws(() => chooseDriver({ library: "/a.so" }, absent), /It is not there/);
  assert.throws(() => chooseDriver({ libraryVariable: "/a.so" }, absent), /It is not there/);
});

Deno.test({ name: "openBus() opens the embedded driver", ignore: !isLinux }, async () => {
  await using line = await ScriptedLine.open([1]);
  const { bus, reason } = openBus({ port: line.port, baudRate: 1_000_000, driver: "builtin" });
  using _closed = bus;
  assert.equal(bus.driver, "builtin");
  assert.match(reason, /embedded driver, as --dxl-driver says/);
});

Deno.test({
  name: "openBus() says so when the library is none, and leaves nothing behind",
  ignore: !isLinux,
}, async () => {
  await using line = await ScriptedLine.open([1]);
  const folder = await Deno.makeTempDir();
  try {
    const library = join(folder, "libdxl_x64_c.so");
    await Deno.writeTextFile(library, "no library");
    const options = { port: line.port, baudRate: 1_000_000 } as const;
    assert.throws(
      () => openBus({ ...options, driver: "sdk", library }),
      /Cannot load ROBOTIS' library .*libdxl_x64_c\.so: .*--dxl-library/,
    );
    using _free = openBus({ ...options, driver: "builtin" }).bus;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
