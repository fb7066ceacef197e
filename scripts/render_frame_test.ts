import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { decode } from "fast-png";

const SCRIPT = fileURLToPath(new URL("./render_frame.ts", import.meta.url));

async function run(...args: string[]): Promise<{ code: number; text: string }> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--allow-read", "--allow-write", SCRIPT, ...args],
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

Deno.test("render_frame.ts writes three pictures side by side", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const out = `${directory}/frame.png`;
    const { code, text } = await run("--size", "40", "--steps", "3", "--seed", "2", "--out", out);
    assert.equal(code, 0, text);
    const { width, height, channels, data } = decode(await Deno.readFile(out));
    assert.deepEqual([width, height, channels], [120, 40, 3]);
    assert.ok(new Set(data).size > 20);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("render_frame.ts exits 2 and says what is wrong on bad usage", async () => {
  const cases: [string[], RegExp][] = [
    [["--sise", "40"], /--sise/],
    [["--size", "40.5"], /--size is "40.5", expected an integer in 1–4096/],
    [["--seed", ""], /--seed is ""/],
    [["--task", "juggle"], /Unknown task "juggle": choose one of reach, transfer_cube/],
  ];
  await Promise.all(cases.map(async ([args, message]) => {
    const { code, text } = await run(...args);
    assert.equal(code, 2, text);
    assert.match(text, message);
  }));
});

Deno.test("render_frame.ts exits 1 when it cannot write", async () => {
  const { code, text } = await run("--size", "8", "--out", "/nonexistent/directory/frame.png");
  assert.equal(code, 1);
  assert.match(text, /Cannot render: /);
});
