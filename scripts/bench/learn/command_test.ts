import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ResultFile } from "./result_lines.ts";

async function run(...args: string[]) {
  const path = fileURLToPath(new URL("../../bench.ts", import.meta.url));
  const permissions = ["read", "write", "net", "env", "sys", "ffi", "run"];
  const command = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-check", ...permissions.map((name) => `--allow-${name}`)],
      ...[path, "learn", ...args],
    ],
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout).trim(), errors: decoder.decode(stderr).trim() };
}

const lastLine = (text: string) => JSON.parse(text.slice(text.lastIndexOf("\n") + 1));

Deno.test("bench learn trains, measures, goes on where it was and repeats nothing", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const out = join(folder, "results.jsonl");
    const picture = join(folder, "pictures", "reach.svg");
    const args = [
      ...["--experiment", "ablations", "--variants", "stale", "--seeds", "5", "--out", out],
      ...["--updates", "2", "--save-every-updates", "1", "--chunks-per-update", "16"],
      ...["--batch-size", "16", "--num-envs", "4", "--eval-episodes", "2"],
      ...["--checkpoint-dir", folder, "--picture", picture, "--json"],
    ];
    const first = await run(...args);
    assert.equal(first.code, 0, first.errors);
    const report = lastLine(first.out);
    assert.deepEqual(report.variants.map((v: { variant: string }) => v.variant), ["stale"]);
    assert.deepEqual(report.variants[0].seeds, [5]);
    assert.match(await Deno.readTextFile(picture), /^<svg /);

    const [trained] = await new ResultFile(out).read();
    assert.equal(trained.settings?.holdWeights, 3);
    assert.deepEqual(trained.updates.map(({ update }) => update), [1, 2]);
    assert.deepEqual(trained.evaluations.map(({ update }) => update), [0, 1, 2]);
    assert.ok(trained.evaluations[1].controlSteps > 0);
    assert.equal(trained.evaluations[2].controlSteps, trained.trained?.controlSteps);
    const steps: string[] = [];
    for await (const { name } of Deno.readDir(join(folder, "ablations-stale-seed-5"))) {
      if (name.startsWith("step_")) steps.push(name);
    }
    assert.deepEqual(steps, ["step_2"]);

    // The last measurement is lost: it alone is taken again.
    const text = await Deno.readTextFile(out);
    const short = text.trimEnd().split("\n").slice(0, -1).join("\n") + "\n";
    await Deno.writeTextFile(out, short);
    const second = await run(...args);
    assert.equal(second.code, 0, second.errors);
    assert.equal(await Deno.readTextFile(out), text);

    const other = await run(...args, "--learning-rate", "0.001");
    assert.equal(other.code, 2);
    assert.match(other.errors, /^Cannot go on with ablations-stale-seed-5 .*: learningRate is the/);
    assert.equal(other.errors.split("\n").length, 1);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("bench learn ends wrong usage with one sentence", async () => {
  const cases: [string[], RegExp][] = [
    [["--experiment", "reech"], /^Invalid --experiment: it is "reech", but it takes one of reach/],
    [
      ["--variants", "frist"],
      /reach has no "frist" \(did you mean first\?\); it has default,/,
    ],
    [["--seeds", "0,-1"], /^Invalid --seeds: "-1" is none; it takes integers/],
    [["--exp-name", "x"], /^Unknown flag --exp-name/],
  ];
  const ends = await Promise.all(cases.map(([args]) => run(...args)));
  ends.forEach(({ code, errors }, i) => {
    assert.equal(code, 2, errors);
    assert.match(errors, cases[i][1]);
    assert.equal(errors.split("\n").length, 1, errors);
  });
});
