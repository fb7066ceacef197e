import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DEFAULT_LIMITS } from "../controller/safety/default_limits.ts";

const SCRIPT = fileURLToPath(new URL("./fuzz_limits.ts", import.meta.url));

async function run(...args: string[]) {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--allow-read", SCRIPT, ...args],
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), errors: decoder.decode(stderr).trim() };
}

Deno.test("fuzz_limits counts commands, clamps of every kind and no violation", async () => {
  const { code, out, errors } = await run("--commands", "10001", "--seed", "7");
  assert.equal(code, 0, errors);
  assert.match(out, /^50 Hz +3335 +\d+ +\d+ +0 /m);
  assert.match(out, /^200 Hz +3333 +\d+ +\d+ +0 /m);
  for (const kind of ["not_finite", "velocity", "workspace"]) {
    assert.match(out, new RegExp(`^${kind} +[1-9]\\d* +[1-9]\\d* +[1-9]\\d*$`, "m"));
  }
  assert.match(out, /^10001 commands, 0 violations, \d+\.\d s$/m);
});

Deno.test("fuzz_limits reads limits from a file and refuses wrong ones", async () => {
  const path = join(await Deno.makeTempDir(), "limits.json");
  try {
    await Deno.writeTextFile(path, JSON.stringify({ ...DEFAULT_LIMITS, maxCycleS: 0.025 }));
    const { code, errors } = await run("--commands", "300", "--limits", path);
    assert.equal(code, 0, errors);
    await Deno.writeTextFile(path, JSON.stringify({ ...DEFAULT_LIMITS, maxCycleS: 0.05 }));
    const refused = await run("--commands", "300", "--limits", path);
    assert.equal(refused.code, 1);
    assert.match(refused.errors, /^Cannot use the safety limits: maxCycleS is 0.05/);
    assert.equal((await run("--commands", "0")).code, 2);
  } finally {
    await Deno.remove(join(path, ".."), { recursive: true });
  }
});
