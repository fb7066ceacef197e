import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("./learning_curve.ts", import.meta.url));

async function run(...args: string[]) {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--allow-read", "--allow-write", SCRIPT, ...args],
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), errors: decoder.decode(stderr).trim() };
}

Deno.test("learning_curve writes a picture of every run", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const runs = ["first", "second"].map((name) => join(folder, `${name}.jsonl`));
    const line = (update: number) =>
      JSON.stringify({ update, successRate: update / 4, episodeReward: update }) + "\n";
    for (const path of runs) await Deno.writeTextFile(path, line(1) + line(2));
    const out = join(folder, "pictures", "curve.svg");
    const result = await run("--runs", runs.join(","), "--out", out);
    assert.equal(result.code, 0, result.errors);
    assert.match(result.out, /first: 2 updates, success at the end 50 %/);
    assert.equal([...(await Deno.readTextFile(out)).matchAll(/class="run"/g)].length, 4);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("learning_curve ends wrong usage and missing files with one sentence", async () => {
  const cases: [string[], number, RegExp][] = [
    [[], 2, /^--runs is empty: /],
    [["--runs", "a", "--out", "a.png"], 2, /must end in \.svg\.$/],
    [["--runs", "/nonexistent/metrics.jsonl"], 1, /metrics\.jsonl.*check the path\.$/],
  ];
  for (const [args, code, sentence] of cases) {
    const result = await run(...args);
    assert.equal(result.code, code, result.errors);
    assert.match(result.errors, sentence);
    assert.equal(result.errors.split("\n").length, 1, result.errors);
  }
});
