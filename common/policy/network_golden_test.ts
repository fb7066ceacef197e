import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import type { HostTensor, RgbImage } from "../types.ts";
import { useDevice } from "./backend.ts";
import { forward, imageTensor, type Network, postfixLogits, startDecoding } from "./network.ts";
import { backboneSpecs, type ParameterSpec, ParameterStore, valueHeadSpecs } from "./parameters.ts";
import { encodeImages } from "./siglip.ts";
import { countTensors, maxDifference, take } from "./testing.ts";
import type { GemmaSize, LoraSize, PolicyVariant, SiglipSize } from "./variants.ts";

// Written by scripts/goldens/policy_golden.py: the same network in numpy, in float64.
interface Golden {
  readonly siglip: SiglipSize;
  readonly gemma: GemmaSize;
  readonly lora: LoraSize;
  readonly fastSkipTokens: number;
  readonly fastVocab: number;
  readonly valueHidden: number;
  readonly maxValueSteps: number;
  readonly prompts: readonly (readonly number[])[];
  readonly forced: readonly number[];
  readonly tokens: readonly (readonly number[])[];
  /** `[B]` rows of `[3 · T, D]`. */
  readonly imageTokens: readonly (readonly number[])[];
  readonly cases: readonly {
    readonly lora: boolean;
    readonly decodePositions: PolicyVariant["decodePositions"];
    /** `[B]` rows of `[S_b, fastVocab]`. */
    readonly logits: readonly (readonly number[])[];
    readonly observationValue: readonly number[];
    readonly chunkValue: readonly number[];
    /** `[B]` rows of `[G + S_b, V]`. */
    readonly postfix?: readonly (readonly number[])[];
  }[];
}

const golden: Golden = JSON.parse(
  Deno.readTextFileSync(new URL("../../tests/fixtures/policy/golden.json", import.meta.url)),
);
const TOLERANCE = 1e-4;

/** Numbers in [−1, 1): xorshift32 seeded with the name's FNV-1a hash, as in the script. */
function noise(name: string, length: number): Float32Array {
  let x = 2166136261;
  for (const byte of new TextEncoder().encode(name)) x = Math.imul(x ^ byte, 16777619);
  return Float32Array.from({ length }, () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 31 - 1;
  });
}

function weights(specs: readonly ParameterSpec[]): Map<string, HostTensor> {
  return new Map(specs.map(({ path, shape }) => {
    const data = noise(path, shape.reduce((a, b) => a * b, 1)).map((x) => 0.3 * x);
    return [path, { name: path, shape, data }];
  }));
}

function images(): RgbImage[] {
  const side = golden.siglip.imageSize;
  return golden.prompts.flatMap((_, row) =>
    [0, 1, 2].map((camera) => ({
      width: side,
      height: side,
      data: Uint8Array.from(
        noise(`image ${row} ${camera}`, side * side * 3),
        (x) => Math.floor((x + 1) * 128),
      ),
    }))
  );
}

function makeNetwork(
  hasLora: boolean,
  decodePositions: PolicyVariant["decodePositions"],
  valueInput: Network["valueInput"],
): Network & Disposable {
  const variant: PolicyVariant = {
    name: "golden",
    siglip: golden.siglip,
    gemma: hasLora ? { ...golden.gemma, lora: golden.lora } : golden.gemma,
    fastSkipTokens: golden.fastSkipTokens,
    decodePositions,
  };
  const specs = backboneSpecs(variant);
  const headSpecs = valueHeadSpecs(golden.gemma.width, golden.valueHidden);
  const backbone = new ParameterStore(specs, weights(specs));
  const valueHead = new ParameterStore(headSpecs, weights(headSpecs));
  return {
    variant,
    backbone,
    valueHead,
    fastVocab: golden.fastVocab,
    valueInput,
    maxValueSteps: golden.maxValueSteps,
    isCriticDetached: false,
    [Symbol.dispose]() {
      backbone.dispose();
      valueHead.dispose();
    },
  };
}

const input = () => ({
  images: images(),
  ids: {
    prompts: golden.prompts.map((p) => Int32Array.from(p)),
    forced: Int32Array.from(golden.forced),
  },
});
const tokens = golden.tokens.map((row) => Int32Array.from(row));

for (const device of ["cpu", "wasm"] as const) {
  Deno.test(`encodeImages() equals the numpy reference on ${device}`, async () => {
    await useDevice(device);
    using net = makeNetwork(false, "natural", "observation");
    const found = await take(
      tf.tidy(() =>
        encodeImages(net.backbone, golden.siglip, imageTensor(images(), golden.siglip.imageSize))
      ),
    );
    assert.ok(maxDifference(found, golden.imageTokens.flat()) < TOLERANCE);
  });

  for (const { lora, decodePositions, ...expected } of golden.cases) {
    const name = `${
      lora ? "with" : "without"
    } adapters, ${decodePositions} positions, on ${device}`;
    Deno.test(`forward() and decoding equal the numpy reference ${name}`, async () => {
      await useDevice(device);
      const before = countTensors();
      for (const valueInput of ["observation", "chunk"] as const) {
        using net = makeNetwork(lora, decodePositions, valueInput);
        const out = tf.tidy(() => {
          const { logits, value } = forward(net, input(), tokens);
          return { logits, value };
        });
        const logits = await take(out.logits);
        const steps = Math.max(...tokens.map((t) => t.length));
        const values = valueInput === "chunk" ? expected.chunkValue : expected.observationValue;
        assert.ok(maxDifference(await take(out.value), values) < TOLERANCE, "values");

        using decoding = await startDecoding(net, input(), steps);
        for (let s = 0; s < steps; s++) {
          for (let row = 0; row < tokens.length; row++) {
            if (s >= tokens[row].length) continue;
            const V = golden.fastVocab;
            const reference = expected.logits[row].slice(s * V, (s + 1) * V);
            const at = (row * steps + s) * V;
            assert.ok(maxDifference(logits.slice(at, at + V), reference) < TOLERANCE, "forward");
            const decoded = decoding.logits.slice(row * V, (row + 1) * V);
            assert.ok(maxDifference(decoded, reference) < TOLERANCE, "decoding");
          }
          if (s < steps - 1) {
            await decoding.feed(tokens.map((row) => row[Math.min(s, row.length - 1)]));
          }
        }
        const critic = valueInput === "chunk"
          ? await decoding.finish(tokens.map((row) => row.length))
          : decoding.values;
        assert.ok(maxDifference(critic, values) < TOLERANCE, "values of decoding");
      }
      assert.equal(countTensors(), before);
    });
  }

  Deno.test(`postfixLogits() equals the numpy reference on ${device}`, async () => {
    await useDevice(device);
    const reference = golden.cases.find((c) => c.postfix)!.postfix!;
    // Imitation has natural positions whatever the variant decodes with.
    using net = makeNetwork(false, "openpi", "observation");
    const V = golden.gemma.vocab;
    const postfix = tokens.map((row) =>
      Int32Array.from([
        ...golden.forced,
        ...Array.from(row, (t) => V - 1 - golden.fastSkipTokens - t),
      ])
    );
    const found = await take(tf.tidy(() => postfixLogits(net, input(), postfix)));
    const steps = Math.max(...postfix.map((p) => p.length));
    postfix.forEach(({ length }, row) => {
      const at = row * steps * V;
      assert.ok(maxDifference(found.slice(at, at + length * V), reference[row]) < TOLERANCE);
    });
  });
}
