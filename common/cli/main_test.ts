import assert from "node:assert/strict";
import { describeError } from "./main.ts";

const CONFIG_FILE = new URL("../../deno.json", import.meta.url).pathname;
const moduleUrl = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);
const IMPORTS = `
  import * as main from ${moduleUrl("./main.ts")};
  import * as flags from ${moduleUrl("./flags.ts")};`;

/** Start a program whose body is given; `main` and `flags` are the modules of this folder. */
async function start(body: string): Promise<Deno.ChildProcess> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "-c", CONFIG_FILE, "--allow-net=127.0.0.1", "--allow-read", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(`${IMPORTS}\n${body}`));
  await writer.close();
  return child;
}

async function finish(child: Deno.ChildProcess): Promise<{ code: number; stderr: string }> {
  const { code, stderr } = await child.output();
  return { code, stderr: new TextDecoder().decode(stderr).trim() };
}

Deno.test("runMain() ends with 0, 1 or 2 and prints one sentence for a failure", async () => {
  const cases = [
    ["await Promise.resolve();", 0, ""],
    ['throw new flags.UsageError("Unknown flag --x.");', 2, "Unknown flag --x."],
    ['throw new RangeError("Bad\\nvalue");', 1, "Bad value."],
    ['await Deno.readTextFile("/nowhere");', 1, /^No such file .*'\/nowhere': check the path\.$/],
    [
      `const a = Deno.listen({ hostname: "127.0.0.1", port: 0 });
       Deno.listen({ hostname: "127.0.0.1", port: a.addr.port });`,
      1,
      /^Address already in use.*: choose another port, or 0 for any free one\.$/,
    ],
    ['await new Promise((_, no) => setTimeout(no, 0, "text"));', 1, "Failed: text."],
  ] as const;
  await Promise.all(cases.map(async ([body, code, message]) => {
    const result = await finish(await start(`await main.runMain(async () => { ${body} });`));
    assert.equal(result.code, code, result.stderr);
    if (message instanceof RegExp) assert.match(result.stderr, message);
    else assert.equal(result.stderr, message);
  }));
});

/** Start a program that says that it is ready, and wait until it does. */
async function startReady(body: string): Promise<Deno.ChildProcess> {
  const child = await start(`await main.runMain(async (signal) => { ${body} });`);
  const reader = child.stdout.getReader();
  await reader.read();
  reader.releaseLock();
  return child;
}

const UNTIL_ABORTED = `
  const timer = setTimeout(() => {}, 3600_000);
  const aborted = new Promise((resolve) => signal.addEventListener("abort", resolve));
  console.log("ready"); await aborted; clearTimeout(timer);`;

Deno.test("runMain() lets a program finish in good order after a signal", async () => {
  const child = await startReady(`${UNTIL_ABORTED} console.error("saved");`);
  child.kill("SIGTERM");
  assert.deepEqual(await finish(child), { code: 0, stderr: "saved" });
});

Deno.test("runMain() ends with the signal's exit code when the program throws its reason", async () => {
  const child = await startReady(`${UNTIL_ABORTED} signal.throwIfAborted();`);
  child.kill("SIGINT");
  assert.deepEqual(await finish(child), { code: 130, stderr: "Stopped by SIGINT." });
});

Deno.test("runMain() takes a signal that comes twice at once for one", async () => {
  const child = await startReady(`
    const aborted = new Promise((resolve) => signal.addEventListener("abort", () => {
      console.log("stopping");
      setTimeout(resolve, 100);
    }));
    console.log("ready"); await aborted; console.error("saved");`);
  child.kill("SIGINT");
  const reader = child.stdout.getReader();
  await reader.read();
  reader.releaseLock();
  child.kill("SIGINT");
  assert.deepEqual(await finish(child), { code: 0, stderr: "saved" });
});

Deno.test("runMain() ends at once on a second signal", async () => {
  const child = await startReady(`
    signal.addEventListener("abort", () => setTimeout(() => console.log("still here"), 350));
    console.log("ready"); await new Promise((resolve) => setTimeout(resolve, 3600_000));`);
  child.kill("SIGINT");
  const reader = child.stdout.getReader();
  await reader.read();
  reader.releaseLock();
  child.kill("SIGINT");
  assert.equal((await finish(child)).code, 130);
});

Deno.test("describeError() writes one line whatever was thrown", () => {
  assert.equal(describeError(new Error("a.\n b;")), "a. b.");
  assert.equal(describeError(new TypeError("")), "TypeError.");
  assert.equal(describeError(undefined), "Failed: undefined.");
});
