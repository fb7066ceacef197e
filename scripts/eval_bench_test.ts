import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

async function run(script: string, ...args: string[]) {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const permissions = ["read", "write", "env", "sys", "ffi"].map((name) => `--allow-${name}`);
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", ...permissions, path, ...args],
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout).trim(), errors: decoder.decode(stderr).trim() };
}

const lastLine = (text: string) => JSON.parse(text.slice(text.lastIndexOf("\n") + 1));

Deno.test("eval and bench measure what pretrain has just written", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const device = ["--device", "wasm"];
    const trained = await run(
      "./pretrain.ts",
      ...["--checkpoint-dir", folder, "--exp-name", "x", "--horizon", "12", "--episodes", "8"],
      ...["--steps", "1", "--batch", "2", "--eval-episodes", "0", ...device],
    );
    assert.equal(trained.code, 0, trained.errors);
    const checkpoint = join(folder, "x", "step_1");

    // The horizon is not the preset's: it comes from the checkpoint.
    const measured = await run(
      "./eval.ts",
      ...["--checkpoint", checkpoint, "--episodes", "3", "--greedy", "--json", ...device],
      ...["--precision", "int8", "--execute-steps", "5", "--max-episode-steps", "20"],
    );
    assert.equal(measured.code, 0, measured.errors);
    const result = lastLine(measured.out);
    assert.equal(result.episodes, 3);
    assert.equal(result.temperature, 0);
    assert.equal(result.precision, "int8");
    // An episode's last chunk may have fewer.
    assert.ok(result.meanChunkSteps <= 5 && result.meanChunkSteps > 2, result.meanChunkSteps);
    assert.equal(result.successRate, result.successes / 3);
    const [low, high] = result.successInterval95;
    assert.ok(low <= result.successRate && result.successRate <= high);

    const bench = await run(
      "./bench.ts",
      ...["--checkpoint", checkpoint, "--only", "tokenizer,wire,learner", "--json", ...device],
      ...["--repeats", "1", "--chunks-per-update", "2", "--batch-size", "2", "--epochs", "1"],
      ...["--num-envs", "1"],
    );
    assert.equal(bench.code, 0, bench.errors);
    const { results, model } = lastLine(bench.out);
    assert.equal(model, "tiny, chunks of 12×14");
    assert.deepEqual(Object.keys(results), ["tokenizer", "wire", "learner"]);
    for (const { name, p50 } of Object.values(results).flat() as { name: string; p50: number }[]) {
      assert.ok(Number.isFinite(p50) && p50 >= 0, name);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("eval and bench end wrong usage and missing checkpoints with one sentence", async () => {
  const cases: [string, string[], number, RegExp][] = [
    ["./eval.ts", ["--episodes", "0"], 2, /^Invalid --episodes: it is 0, but it takes /],
    ["./eval.ts", ["--checkpoint", "/nonexistent"], 1, /\/nonexistent/],
    ["./bench.ts", ["--only", "learnr"], 2, /"learnr" \(did you mean learner\?\); it takes /],
  ];
  for (const [script, args, code, sentence] of cases) {
    const result = await run(script, ...args);
    assert.equal(result.code, code, result.errors);
    assert.match(result.errors, sentence);
    assert.equal(result.errors.split("\n").length, 1, result.errors);
  }
});
