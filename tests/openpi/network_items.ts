/**
 * The network against openpi's: SigLIP, Gemma, decoding, loss and gradients.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import {
  forward,
  imageTensor,
  type NetworkInput,
  postfixLogits,
  postfixLosses,
  startDecoding,
} from "../../common/policy/network.ts";
import { backboneSpecs, toCheckpointLayout } from "../../common/policy/parameters.ts";
import { layOut, positionIds, prefixLmMask } from "../../common/policy/sequence.ts";
import { encodeImages } from "../../common/policy/siglip.ts";
import type { Tensor } from "../../common/policy/tensors.ts";
import { maxDifference, take } from "../../common/policy/testing.ts";
import { tokensPerImage } from "../../common/policy/variants.ts";
import type { FidelityItem } from "./fidelity_item.ts";
import {
  type CameraCase,
  floats,
  goldenNetwork,
  goldenVariant,
  type NetworkGolden,
  type Packed,
  picture,
  readGolden,
} from "./golden.ts";

const golden = readGolden<NetworkGolden>("network");
const siglip = readGolden<{ readonly stages: Readonly<Record<string, Packed>> }>("siglip");
const V = golden.gemma.vocab;
const CAMERAS = 3;
const postfix = golden.postfix.map((row) => Int32Array.from(row));

const LOGITS = { unit: "max abs", tolerance: 1e-4, webgpuTolerance: 2e-3, usesTensors: true };

function inputOf(cameraMasks?: CameraCase["cameraMasks"]): NetworkInput {
  const side = golden.siglip.imageSize;
  return {
    images: golden.prompts.flatMap((_, row) =>
      Array.from({ length: CAMERAS }, (_, camera) => picture(`image ${row} ${camera}`, side, side))
    ),
    ids: {
      prompts: golden.prompts.map((row) => Int32Array.from(row)),
      forced: new Int32Array(0),
      ...(cameraMasks && { cameraMasks }),
    },
  };
}

/** Language ids as FAST ids and back: the golden's network counts its whole vocabulary downwards. */
const mirrored = (id: number) => V - 1 - id;

/** `[…, V]` in the order of FAST ids → in the order of language ids. */
function inLanguageOrder(logits: Float32Array): Float32Array {
  return logits.map((_, i) => logits[i - (i % V) + mirrored(i % V)]);
}

/** Greatest difference of the rows that have words, of `[B, S, V]` from `[B]` of `[S_b, V]`. */
function rowsDifference(found: Float32Array, expected: readonly Packed[]): number {
  const stride = found.length / expected.length;
  return Math.max(...expected.map((row, b) => {
    const reference = floats(row);
    return maxDifference(found.slice(b * stride, b * stride + reference.length), reference);
  }));
}

/** Host results by backend and name: several items look at the same pass. */
const computed = new Map<string, Promise<unknown>>();

function once<T>(name: string, compute: () => Promise<T>): Promise<T> {
  const key = `${tf.getBackend()} ${name}`;
  if (!computed.has(key)) computed.set(key, compute());
  return computed.get(key) as Promise<T>;
}

/** What every stage of SigLIP gives for two pictures. */
async function siglipStages() {
  using net = goldenNetwork(golden, false);
  const side = golden.siglip.imageSize;
  const images = [0, 1].map((camera) => picture(`image 0 ${camera}`, side, side));
  const kept = new Map<string, Tensor>();
  tf.tidy(() => {
    encodeImages(net.backbone, golden.siglip, imageTensor(images, side), (name, x) => {
      kept.set(name, tf.keep(tf.clone(x)));
    });
  });
  const stages = new Map<string, Float32Array>();
  for (const [name, tensor] of kept) stages.set(name, await take(tensor));
  return stages;
}

const siglipItems: FidelityItem[] = Object.entries(siglip.stages).map(([stage, expected]) => ({
  name: `SigLIP activations, ${stage}`,
  reference: "models/siglip.py",
  ...LOGITS,
  async measure() {
    const found = (await once("siglip", siglipStages)).get(stage);
    return found ? maxDifference(found, floats(expected)) : Infinity;
  },
}));

/** Greedy tokens [B][S] and their logits [B, S, V], over the cache. */
async function decodeGreedily(hasLora: boolean, steps: number) {
  using net = goldenNetwork(golden, hasLora);
  const batch = golden.prompts.length;
  const logits = new Float32Array(batch * steps * V);
  const tokens: number[][] = golden.prompts.map(() => []);
  using decoding = await startDecoding(net, inputOf(), steps);
  for (let s = 0; s < steps; s++) {
    if (s > 0) await decoding.feed(tokens.map((row) => mirrored(row[s - 1])));
    const now = inLanguageOrder(decoding.logits);
    for (let row = 0; row < batch; row++) {
      const mine = now.subarray(row * V, (row + 1) * V);
      logits.set(mine, (row * steps + s) * V);
      tokens[row].push(mine.indexOf(Math.max(...mine)));
    }
  }
  return { logits, tokens };
}

/** Logits [B, S, V] of the postfix, fed one by one; rows that have ended are fed their last again. */
async function decodeGiven(hasLora: boolean, cameraMasks: CameraCase["cameraMasks"]) {
  using net = goldenNetwork(golden, hasLora);
  const steps = Math.max(...postfix.map((row) => row.length));
  const logits = new Float32Array(postfix.length * steps * V);
  using decoding = await startDecoding(net, inputOf(cameraMasks), steps);
  for (let s = 0; s < steps; s++) {
    if (s > 0) {
      await decoding.feed(postfix.map((row) => mirrored(row[Math.min(s, row.length) - 1])));
    }
    const now = inLanguageOrder(decoding.logits);
    postfix.forEach((_, row) => {
      logits.set(now.subarray(row * V, (row + 1) * V), (row * steps + s) * V);
    });
  }
  return logits;
}

/** Gradients of the mean loss, each parameter in the layout of a checkpoint. */
async function lossGradients(hasLora: boolean, paths: readonly string[]) {
  using net = goldenNetwork(golden, hasLora);
  const { value, grads } = tf.variableGrads(
    () => tf.mean(postfixLosses(net, inputOf(), postfix)),
    net.backbone.select((path) => paths.includes(path)),
  );
  value.dispose();
  const out = new Map<string, Float32Array>();
  for (const spec of backboneSpecs(net.variant).filter((s) => paths.includes(s.path))) {
    const values: number[] = [];
    for (const { name } of net.backbone.select((path) => path === spec.path)) {
      values.push(...toCheckpointLayout(spec, await take(grads[name])));
    }
    out.set(spec.path, Float32Array.from(values));
  }
  return out;
}

const networkItems = (["gemma_2b", "gemma_2b_lora"] as const).flatMap((name): FidelityItem[] => {
  const reference = golden.variants[name];
  const hasLora = name === "gemma_2b_lora";
  const way = hasLora ? " with adapters" : "";
  const steps = reference.sampledTokens[0].length;
  const cases = Object.entries(reference.cases).flatMap(([kind, expected]): FidelityItem[] => {
    const cameras = kind === "masked" ? ", a camera masked" : "";
    const { cameraMasks } = expected;
    // With all cameras, sampling covers decoding. With one masked it cannot: openpi's sampler then
    // lets decoded tokens see the wrong part of the prefix, so the model's own mask is the reference.
    const decoding: FidelityItem = {
      name: `Decoded logits of given tokens over the cache${way}${cameras}`,
      reference: "models/gemma_fast.py, pi0_fast.py make_attn_mask",
      ...LOGITS,
      async measure() {
        const logits = await decodeGiven(hasLora, cameraMasks);
        return rowsDifference(logits, expected.decodingLogits);
      },
    };
    return [
      ...(kind === "masked" ? [decoding] : []),
      {
        name: `Gemma logits in training${way}${cameras}`,
        reference: "models/pi0_fast.py compute_loss",
        ...LOGITS,
        async measure() {
          using net = goldenNetwork(golden, hasLora);
          const logits = tf.tidy(() => postfixLogits(net, inputOf(cameraMasks), postfix));
          return rowsDifference(await take(logits), expected.trainingLogits);
        },
      },
      {
        name: `Gemma logits at decoding's positions${way}${cameras}`,
        reference: "models/gemma_fast.py, pi0_fast.py make_attn_mask",
        ...LOGITS,
        async measure() {
          using net = goldenNetwork(golden, hasLora);
          const tokens = postfix.map((row) => row.map(mirrored));
          const logits = tf.tidy(() => forward(net, inputOf(cameraMasks), tokens).logits);
          return rowsDifference(inLanguageOrder(await take(logits)), expected.decodingLogits);
        },
      },
      {
        name: `Training loss${way}${cameras}`,
        reference: "models/pi0_fast.py compute_loss",
        unit: "max rel",
        tolerance: 1e-5,
        usesTensors: true,
        async measure() {
          using net = goldenNetwork(golden, hasLora);
          const loss = await take(tf.tidy(() => postfixLosses(net, inputOf(cameraMasks), postfix)));
          return Math.max(...expected.loss.map((x, row) => Math.abs(loss[row] / x - 1)));
        },
      },
    ];
  });
  return [
    ...cases,
    {
      name: `Prefill and ${steps} decoded logits over the cache${way}`,
      reference: "models/pi0_fast.py sample_actions",
      ...LOGITS,
      async measure() {
        const { logits } = await once(`decode${way}`, () => decodeGreedily(hasLora, steps));
        return maxDifference(logits, floats(reference.sampledLogits));
      },
    },
    {
      name: `${steps} greedy tokens${way}`,
      reference: "models/pi0_fast.py sample_actions",
      unit: "mismatches",
      tolerance: 0,
      usesTensors: true,
      async measure() {
        const { tokens } = await once(`decode${way}`, () => decodeGreedily(hasLora, steps));
        return countMismatches(tokens.flat(), reference.sampledTokens.flat());
      },
    },
    ...Object.entries(reference.gradients).map(([path, expected]): FidelityItem => ({
      name: `d loss / d ${path.replace("PaliGemma/", "")}${way}`,
      reference: "jax.grad of compute_loss",
      unit: "max abs / max",
      tolerance: 1e-4,
      usesTensors: true,
      async measure() {
        const paths = Object.keys(reference.gradients);
        const all = await once(`gradients${way}`, () => lossGradients(hasLora, paths));
        const gradient = all.get(path)!;
        const exact = floats(expected);
        return maxDifference(gradient, exact) / Math.max(...exact.map(Math.abs));
      },
    })),
  ];
});

/** How many entries differ; Infinity when the lengths do. */
export function countMismatches<T>(found: ArrayLike<T>, expected: ArrayLike<T>): number {
  if (found.length !== expected.length) return Infinity;
  return Array.from(found).filter((x, i) => x !== expected[i]).length;
}

/** Our place of each of openpi's places of row `row` that hold something; images, prompt, postfix. */
function placesOf(row: number, hasPostfix: boolean): Map<number, number> {
  const images = CAMERAS * tokensPerImage(golden.siglip);
  const longest = Math.max(...golden.prompts.map((p) => p.length));
  const prompt = golden.prompts[row].length;
  const count = images + prompt + (hasPostfix ? golden.postfix[row].length : 0);
  return new Map(
    Array.from({ length: count }, (_, i) => [i, i < images ? i : i + longest - prompt]),
  );
}

const sequenceItems = (["all", "masked"] as const).flatMap((kind): FidelityItem[] => {
  const { cameraMasks, attention, aligned } = golden.variants.gemma_2b.cases[kind];
  const images = CAMERAS * tokensPerImage(golden.siglip);
  const { ids } = inputOf(cameraMasks);
  const isHidden = (row: number, place: number) =>
    place < images && !cameraMasks[row][Math.floor(place / (images / CAMERAS))];
  const plain = { unit: "mismatches", tolerance: 0, usesTensors: false };
  const cameras = kind === "masked" ? ", a camera masked" : "";
  return [
    {
      name: `Prefix-LM mask with padding${cameras}`,
      reference: "models/pi0_fast.py make_attn_mask",
      ...plain,
      measure() {
        const layout = layOut(images, ids, Math.max(...postfix.map((p) => p.length)));
        const { data, rows } = prefixLmMask(layout);
        let mismatches = 0;
        golden.prompts.forEach((_, row) => {
          const places = placesOf(row, true);
          // Nobody reads what a hidden camera's tokens attend to.
          for (const [query, ourQuery] of places) {
            if (isHidden(row, query)) continue;
            for (const [key, ourKey] of places) {
              const at = ((rows === 1 ? 0 : row) * layout.length + ourQuery) * layout.length;
              const isSeen = data[at + ourKey] === 0;
              if (isSeen !== (attention![row][query][key] === "1")) mismatches++;
            }
          }
        });
        return mismatches;
      },
    },
    {
      name: `Positions of the right-aligned prefix${cameras}`,
      reference: "models/pi0_fast.py left_to_right_align",
      ...plain,
      measure() {
        const found = positionIds(layOut(images, ids, 0), "openpi");
        const length = found.length / golden.prompts.length;
        let mismatches = 0;
        golden.prompts.forEach((_, row) => {
          const places = placesOf(row, false);
          aligned!.places[row].forEach((place, slot) => {
            if (aligned!.mask[row][slot] === "0") return;
            const ours = found[row * length + places.get(place)!];
            if (ours !== aligned!.positions[row][slot]) mismatches++;
          });
        });
        return mismatches;
      },
    },
  ];
});

const shapeItems = (["gemma_2b", "gemma_2b_lora"] as const).map((name): FidelityItem => ({
  name: `Paths and shapes of the parameters, ${name}`,
  reference: "models/pi0_fast.py Pi0FAST",
  unit: "mismatches",
  tolerance: 0,
  usesTensors: false,
  measure() {
    const ours = backboneSpecs(goldenVariant(golden, name === "gemma_2b_lora"));
    const lines = ours.map(({ path, shape }) => `${path} ${shape}`).sort();
    const { shapes } = golden.variants[name];
    return countMismatches(lines, Object.entries(shapes).map((e) => e.join(" ")).sort());
  },
}));

/** SigLIP's stages. */
export const SIGLIP_ITEMS: readonly FidelityItem[] = siglipItems;
/** Masks, positions, shapes, logits, decoding, loss and gradients. */
export const GEMMA_ITEMS: readonly FidelityItem[] = [
  ...shapeItems,
  ...sequenceItems,
  ...networkItems,
];
