import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { whyNoWebgpu } from "../../../common/device/testing.ts";
import { VARIANTS } from "../../../common/policy/variants.ts";
import { seededRandom } from "../../../common/random.ts";
import { makeUpModel } from "./made_up_model.ts";

async function run(...args: string[]) {
  const path = fileURLToPath(new URL("../../bench.ts", import.meta.url));
  const permissions = ["read", "write", "env", "sys", "ffi"].map((name) => `--allow-${name}`);
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", ...permissions, path, "policy", ...args],
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout).trim(), errors: decoder.decode(stderr).trim() };
}

const reason = await whyNoWebgpu();

Deno.test({
  name: "bench policy prints every number of a chunk as one line of JSON",
  ignore: reason !== undefined,
  async fn() {
    const { code, out, errors } = await run(
      ...["--variant", "tiny", "--weights", "random", "--device", "webgpu", "--json"],
      ...["--repeats", "1", "--decode-tokens", "40"],
    );
    assert.equal(code, 0, errors);
    const report = JSON.parse(out.slice(out.lastIndexOf("\n") + 1));
    assert.equal(report.precision, "int8");
    assert.equal(report.chunkTokens, 40);
    const { imageSize, patch } = VARIANTS.tiny.siglip;
    assert.equal(report.prefillTokens, 3 * (imageSize / patch) ** 2 + 80);
    const positive = [
      ...["loadMs", "visionMs", "prefillMs", "tokenMs", "updateMs", "repeatedChunkMs", "gpuBytes"],
      ...["bytesPerToken", "gigabytesPerSecond", "dispatchesPerToken", "shareOfCopy", "timesFloor"],
      ...["copyGigabytesPerSecond", "readGigabytesPerSecond", "teraflops"],
    ];
    for (const name of positive) assert.ok(report[name] > 0, `${name} is ${report[name]}`);
    assert.ok(report.chunkMs.p50 <= report.chunkMs.p90);
    for (const ms of Object.values(report.floor)) assert.ok((ms as number) > 0);
    assert.ok(report.dispatchesPerToken <= 10 * VARIANTS.tiny.gemma.depth + 2);
  },
});

Deno.test({
  name: "bench policy measures a checkpoint with its own sizes and words",
  ignore: reason !== undefined,
  async fn() {
    const checkpoint = fileURLToPath(new URL("../../../common/pretrained/reach", import.meta.url));
    const { code, out, errors } = await run(
      ...["--weights", checkpoint, "--device", "webgpu", "--json", "--repeats", "1"],
    );
    assert.equal(code, 0, errors);
    const report = JSON.parse(out.slice(out.lastIndexOf("\n") + 1));
    assert.equal(report.variant, "tiny");
    assert.ok(report.chunkTokens > 0 && report.chunkTokens < 64);
    assert.ok(report.chunkMs.p50 > 0);
  },
});

Deno.test("bench policy ends wrong usage with one sentence", async () => {
  const cases: [string[], RegExp][] = [
    [["--variant", "tiny", "--device", "wasm"], /without a GPU: --device wasm gave none/],
    [["--decode-tokens", "0"], /^Invalid --decode-tokens: it is 0/],
  ];
  for (const [args, sentence] of cases) {
    const { code, errors } = await run(...args);
    assert.equal(code, 2, errors);
    assert.match(errors, sentence);
    assert.equal(errors.split("\n").length, 1, errors);
  }
});

Deno.test("makeUpModel() makes random chunks as long as was asked for", () => {
  const random = seededRandom(3);
  const lengths = { prefillTokens: 848, decodeTokens: 50 };
  const { model, prompt, forced, maxTokens, prefillTokens } = makeUpModel(
    VARIANTS.gemma_2b,
    lengths,
    random,
  );
  assert.equal(prefillTokens, 848);
  assert.equal(model.imageTokens + prompt.length + forced.length, 848);
  assert.equal(maxTokens, 50);
  for (let chunk = 0; chunk < 20; chunk++) {
    let state = model.grammar.start(maxTokens);
    let tokens = 0;
    for (; !model.grammar.isDone(state); tokens++) {
      const allowed = [...model.grammar.allowed(state).entries()].filter(([, isAllowed]) =>
        isAllowed
      );
      state = model.grammar.next(state, allowed[Math.floor(random() * allowed.length)][0]);
    }
    assert.equal(tokens, 50);
  }
});

Deno.test("makeUpModel() refuses a prefix without room for text", () => {
  const lengths = { prefillTokens: 769, decodeTokens: 50 };
  assert.throws(() => makeUpModel(VARIANTS.gemma_2b, lengths, seededRandom(3)), {
    name: "RangeError",
    message: /A prefill of 769 tokens has no room for text: .*; give at least 770/,
  });
});
