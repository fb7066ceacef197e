import assert from "node:assert/strict";
import fc from "fast-check";
import { KEY_LIST, type KeyOptions, type KeyTerminal, openKeys, OperatorKeys } from "./keys.ts";
import { Operator } from "./operator.ts";

/** Keys whose input the test types, and everything that came of them, in order. */
function typed() {
  const heard: string[] = [];
  const log = (message: string) => void heard.push(message);
  const logger = { info: log, warn: log, error: log };
  const operator = new Operator({ logger });
  operator.onEvent((event) => {
    heard.push(event.kind === "stop" ? `stop: ${event.reason} (${event.source})` : event.kind);
  });
  const interrupted = Promise.withResolvers<void>();
  const options: KeyOptions = { operator, logger, onInterrupt: interrupted.resolve };
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const input = new ReadableStream<Uint8Array>({ start: (c) => void (controller = c) });
  const type = (text: string) => controller.enqueue(new TextEncoder().encode(text));
  return { heard, operator, options, input, controller, type, interrupted: interrupted.promise };
}

/** What comes of some keys, each read by itself; Ctrl-C comes after them. */
async function hear(...texts: string[]): Promise<string[]> {
  const { heard, options, input, type, interrupted } = typed();
  await using _keys = new OperatorKeys(input, options);
  for (const text of [...texts, "\x03"]) type(text);
  await interrupted;
  return [...heard];
}

Deno.test("OperatorKeys stops at space, e, E and Esc", async () => {
  assert.deepEqual(await hear(" ", "e", "E", "\x1b"), [
    "stop: key space (key press)",
    "stop: key e (key press)",
    "stop: key e (key press)",
    "stop: key Esc (key press)",
  ]);
});

Deno.test("OperatorKeys releases, starts, judges and lists its keys", async () => {
  assert.deepEqual(await hear("rR"), ["release", "release"]);
  assert.deepEqual(await hear("\r"), [
    "start",
    "Enter starts nothing: no episode waits for it",
  ]);
  assert.deepEqual(await hear("s", "f"), [
    "success",
    "s judges nothing: no episode is running",
    "failure",
    "f judges nothing: no episode is running",
  ]);
  assert.deepEqual(await hear("h?"), [KEY_LIST, KEY_LIST]);
});

Deno.test("OperatorKeys starts and judges without a word when it was asked", async () => {
  const { heard, operator, options, input, type } = typed();
  await using _keys = new OperatorKeys(input, options);
  const started = operator.waitForStart(AbortSignal.timeout(10_000));
  using question = operator.askVerdict();
  type("s\n");
  await started;
  assert.equal(question.answer, "success");
  assert.deepEqual(heard, ["success", "start"]);
});

Deno.test("OperatorKeys takes an arrow key for a stop, and its letters for nothing", async () => {
  assert.deepEqual(await hear("\x1b[1;2s", "\x1bOr"), [
    "stop: key Esc (key press)",
    "stop: key Esc (key press)",
  ]);
});

Deno.test("OperatorKeys ignores every other byte", async () => {
  const known = new Set([..." eErRsSfFhH?\r\n\x1b\x03"].map((key) => key.charCodeAt(0)));
  const other = fc.integer({ min: 0, max: 255 }).filter((byte) => !known.has(byte));
  await fc.assert(
    fc.asyncProperty(fc.array(other, { minLength: 1, maxLength: 50 }), async (bytes) => {
      const { heard, options, input, controller, interrupted } = typed();
      await using _keys = new OperatorKeys(input, options);
      controller.enqueue(Uint8Array.of(...bytes, 3));
      await interrupted;
      assert.deepEqual(heard, []);
    }),
    { numRuns: 20 },
  );
});

Deno.test("OperatorKeys stops the arms when the keyboard is lost, not when it is closed", async () => {
  for (
    const [lose, words] of [
      [(c: ReadableStreamDefaultController) => c.close(), "has ended"],
      [
        (c: ReadableStreamDefaultController) => c.error(new Error("gone")),
        "cannot be read: Error: gone",
      ],
    ] as const
  ) {
    const { heard, operator, options, input, controller } = typed();
    const stopped = new Promise<void>((resolve) => operator.onEvent(() => resolve()));
    await using _keys = new OperatorKeys(input, options);
    lose(controller);
    await stopped;
    assert.deepEqual(heard, [`stop: the keyboard ${words} (keyboard)`]);
  }
  assert.deepEqual(await hear(), []);
});

Deno.test("openKeys() turns raw mode on, and off when disposed of", async () => {
  const { heard, options, input } = typed();
  const modes: boolean[] = [];
  const terminal: KeyTerminal = {
    readable: input,
    isTerminal: () => true,
    setRaw: (mode) => void modes.push(mode),
  };
  const keys = openKeys(terminal, options);
  assert.ok(keys !== null);
  assert.deepEqual([modes, heard], [[true], [KEY_LIST]]);
  await keys[Symbol.asyncDispose]();
  assert.deepEqual(modes, [true, false]);
});

Deno.test("openKeys() leaves an input alone that is no terminal", () => {
  const { heard, options, input } = typed();
  const terminal: KeyTerminal = {
    readable: input,
    isTerminal: () => false,
    setRaw: () => assert.fail("it is no terminal"),
  };
  assert.equal(openKeys(terminal, options), null);
  assert.equal(input.locked, false);
  assert.deepEqual(heard, []);
});

/** Why tests at a real terminal are left out; null where util-linux's `script` can make one. */
const NO_TERMINAL = await findScript();

async function findScript(): Promise<string | null> {
  if (Deno.build.os !== "linux") return `no such terminal on ${Deno.build.os}`;
  try {
    const { stdout } = await new Deno.Command("script", { args: ["--version"] }).output();
    return new TextDecoder().decode(stdout).includes("util-linux") ? null : "another script";
  } catch {
    return "script is not installed";
  }
}

/** A program that opens the keys of its terminal, and ends as its argument says once it hears "s". */
const PROGRAM = `
import { openKeys } from "${import.meta.resolve("./keys.ts")}";
import { Operator } from "${import.meta.resolve("./operator.ts")}";
const logger = { info() {}, warn: console.log, error: console.log };
const operator = new Operator({ logger });
const { promise, resolve } = Promise.withResolvers();
operator.onEvent(({ kind }) => {
  console.log(kind);
  if (kind === "success") resolve();
});
const onSignal = () => {
  console.log("SIGINT");
  Deno.exit(0);
};
Deno.addSignalListener("SIGINT", onSignal);
const keys = openKeys(Deno.stdin, { operator, logger, onInterrupt: onSignal });
console.log("ready");
await promise;
if (Deno.args[0] === "exit") Deno.exit(0);
if (Deno.args[0] === "throw") throw new Error("on purpose");
await keys[Symbol.asyncDispose]();
Deno.removeSignalListener("SIGINT", onSignal);
console.log("closed");
`;

/** Run the program at a terminal of its own; lines it printed, between the terminal's settings. */
async function runAtTerminal(ending: string, keys: string): Promise<string[]> {
  const program = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(program, PROGRAM);
    const run =
      `'${Deno.execPath()}' run --no-config --no-lock --allow-read '${program}' ${ending}`;
    // Ctrl-C goes to the shell too: some shells (dash) would end with it unless they trap it.
    const command = `trap : INT; stty -g; ${run}; stty -g`;
    const child = new Deno.Command("script", {
      args: ["--quiet", "--echo", "never", "--command", command, "/dev/null"],
      env: { NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      signal: AbortSignal.timeout(30_000),
    }).spawn();
    const writer = child.stdin.getWriter();
    let text = "";
    for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
      const wasReady = text.includes("ready");
      text += part;
      if (!wasReady && text.includes("ready")) await writer.write(new TextEncoder().encode(keys));
    }
    await writer.close().catch(() => {}); // script may have ended before its input
    await child.status;
    return text.trim().split(/\r?\n/);
  } finally {
    await Deno.remove(program);
  }
}

const left = NO_TERMINAL === null ? "" : ` (left out: ${NO_TERMINAL})`;
for (
  const [ending, keys, expected] of [
    ["return", "e\rs", ["stop", "start", "success", "closed"]],
    ["exit", "s", ["success"]],
    ["throw", "s", ["success"]],
    ["return", "\x03", ["SIGINT"]],
  ] as const
) {
  Deno.test({
    name: `openKeys() reads ${
      JSON.stringify(keys)
    } at a terminal and restores it (${ending})${left}`,
    ignore: NO_TERMINAL !== null,
    async fn() {
      const lines = await runAtTerminal(ending, keys);
      assert.deepEqual(
        lines.slice(1, 2 + expected.length),
        ["ready", ...expected],
        lines.join("\n"),
      );
      assert.equal(lines.at(-1), lines[0], "the terminal is as it was");
    },
  });
}
