/**
 * Everything around the network against openpi's: pictures, normalisation, ALOHA's convention, text.
 * @module
 */

import { resizeFloatsWithPad, resizeWithPad } from "../../common/policy/image_resize.ts";
import {
  normalizeActions,
  toPolicyActions,
  toPolicyState,
  toRobotActions,
} from "../../common/policy/action_transform.ts";
import { maxDifference } from "../../common/policy/testing.ts";
import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { actionsFromPi, actionsToPi, stateToPi } from "../../common/robot/aloha_pi.ts";
import { DIALECTS } from "../../common/tokenizer/dialect.ts";
import {
  createLanguageTokenizer,
  type LanguageTokenizer,
} from "../../common/tokenizer/language.ts";
import {
  type FieldStats,
  normalize,
  type NormStats,
  unnormalize,
} from "../../common/tokenizer/normalization.ts";
import {
  buildPostfix,
  buildPrefix,
  discretizeState,
  prefixText,
} from "../../common/tokenizer/prompt.ts";
import type { FidelityItem } from "./fidelity_item.ts";
import { bytes, floats, noise, type Packed, picture, readGolden } from "./golden.ts";

const plain = { usesTensors: false };

interface ResizeCase {
  readonly from: readonly [number, number];
  readonly to: readonly [number, number];
  /** Every how many rows one is kept. */
  readonly rowStep: number;
  readonly uint8: Packed;
  /** By the client's resize_with_pad, which uses Pillow. */
  readonly pil: Packed;
  readonly float32?: Packed;
}

const { cases: resizes } = readGolden<{ readonly cases: readonly ResizeCase[] }>("images");

function keptRows<T extends Uint8Array | Float32Array>(data: T, { to, rowStep }: ResizeCase): T {
  const row = to[1] * 3;
  return data.filter((_, i) => Math.floor(i / row) % rowStep === 0) as T;
}

function resizedBytes(c: ResizeCase): Uint8Array {
  const image = picture(`resize ${c.from[0]}x${c.from[1]}`, ...c.from);
  return keptRows(resizeWithPad(image, ...c.to).data, c);
}

/** Samples that differ at all, as a share of all samples. */
function differingShare(key: "uint8" | "pil"): number {
  let differing = 0;
  let count = 0;
  for (const c of resizes) {
    const expected = bytes(c[key]);
    differing += resizedBytes(c).filter((x, i) => x !== expected[i]).length;
    count += expected.length;
  }
  return differing / count;
}

const imageItems: FidelityItem[] = ([
  // A sum that ends on a half rounds either way, by the order in which XLA adds.
  ["uint8", "shared/image_tools.py resize_with_pad", "", 1e-3],
  // Pillow rounds between its two passes too.
  ["pil", "openpi_client/image_tools.py resize_with_pad", ", Pillow", 0.2],
] as const).flatMap(([key, reference, name, share]) => [
  {
    name: `resizeWithPad() of 8-bit pictures${name}`,
    reference,
    unit: "levels of 255",
    tolerance: 1,
    ...plain,
    measure: () => Math.max(...resizes.map((c) => maxDifference(resizedBytes(c), bytes(c[key])))),
  },
  {
    name: `resizeWithPad() of 8-bit pictures${name}, samples that differ`,
    reference,
    unit: "share",
    tolerance: share,
    ...plain,
    measure: () => differingShare(key),
  },
]);
imageItems.push(
  {
    name: "resizeFloatsWithPad() of float32 pictures",
    reference: "shared/image_tools.py resize_with_pad",
    unit: "max abs",
    tolerance: 1e-6,
    ...plain,
    measure: () =>
      Math.max(
        ...resizes.filter((c) => c.float32).map((c) => {
          const [height, width] = c.from;
          const scale = Math.fround(1.25);
          const data = noise(`resize ${height}x${width}`, height * width * 3).map((x) => scale * x);
          const size = { height: c.to[0], width: c.to[1] };
          return maxDifference(
            keptRows(resizeFloatsWithPad(data, { height, width }, size), c),
            floats(c.float32!),
          );
        }),
      ),
  },
);

interface AlohaCase {
  readonly inputStates: Packed;
  readonly inputActions: Packed;
  readonly deltaActions: Packed;
  readonly outputActions: Packed;
  readonly decodedActions: Packed;
}

const transforms = readGolden<{
  readonly normalization: {
    readonly stats: NormStats;
    readonly normalized: Readonly<Record<keyof NormStats, Packed>>;
    readonly unnormalized: Readonly<Record<keyof NormStats, Packed>>;
  };
  readonly aloha: {
    readonly state: Packed;
    readonly states: Packed;
    readonly actions: Packed;
    readonly cases: Readonly<Record<"plain" | "adapted", AlohaCase>>;
  };
}>("transforms");

const FIELDS = ["state", "actions"] as const;
const samples = {
  state: noise("state", ALOHA_DIM).map((x) => 2 * x),
  actions: noise("actions", 5 * ALOHA_DIM).map((x) => 2 * x),
};

/** Greatest difference, relative where numbers are above 1: an unmoved joint maps to about 1e6. */
function relativeDifference(found: Float32Array, expected: Float32Array): number {
  return Math.max(
    ...expected.map((x, i) => Math.abs(found[i] - x) / Math.max(1, Math.abs(x))),
  );
}

const { normalization } = transforms;
const normalizationItems: FidelityItem[] = [
  {
    name: "normalize() by quantiles",
    reference: "transforms.py Normalize(use_quantiles)",
    unit: "max rel",
    tolerance: 1e-6,
    ...plain,
    measure: () =>
      Math.max(...FIELDS.map((field) =>
        relativeDifference(
          normalize(samples[field], normalization.stats[field]),
          floats(normalization.normalized[field]),
        )
      )),
  },
  {
    name: "unnormalize() by quantiles",
    reference: "transforms.py Unnormalize(use_quantiles)",
    unit: "max rel",
    tolerance: 1e-6,
    ...plain,
    measure: () =>
      Math.max(...FIELDS.map((field) =>
        relativeDifference(
          unnormalize(samples[field], normalization.stats[field]),
          floats(normalization.unnormalized[field]),
        )
      )),
  },
];

/** Statistics under which normalising changes next to nothing, to look at the differences alone. */
function identityStats(): NormStats {
  const all = (x: number) => new Array<number>(ALOHA_DIM).fill(x);
  const field: FieldStats = { mean: all(0), std: all(1), q01: all(-1), q99: all(1 - 1e-6) };
  return { state: field, actions: field };
}

const { aloha } = transforms;
const alohaItems = (["plain", "adapted"] as const).flatMap((name): FidelityItem[] => {
  const expected = aloha.cases[name];
  const adapts = name === "adapted";
  const way = adapts ? "with adapt_to_pi" : "without adapt_to_pi";
  const rel = { unit: "max abs", tolerance: 2e-6, ...plain };
  const state = floats(aloha.state);
  const states = floats(aloha.states);
  const actions = floats(aloha.actions);
  const conventions: FidelityItem[] = [
    {
      name: "stateToPi()",
      reference: "policies/aloha_policy.py AlohaInputs",
      ...rel,
      measure: () => maxDifference(stateToPi(states), floats(expected.inputStates)),
    },
    {
      name: "actionsToPi()",
      reference: "policies/aloha_policy.py AlohaInputs",
      ...rel,
      measure: () => maxDifference(actionsToPi(actions), floats(expected.inputActions)),
    },
    {
      name: "actionsFromPi()",
      reference: "policies/aloha_policy.py AlohaOutputs",
      ...rel,
      measure: () => maxDifference(actionsFromPi(actions), floats(expected.decodedActions)),
    },
  ];
  return [
    ...(adapts ? conventions : []),
    {
      name: `toPolicyActions(): differences from the state, ${way}`,
      reference: "transforms.py DeltaActions behind AlohaInputs",
      ...rel,
      measure: () =>
        maxDifference(
          toPolicyActions(actions, state, ALOHA_DIM, { adaptToPi: adapts }),
          floats(expected.deltaActions),
        ),
    },
    {
      name: `toRobotActions(): absolute targets again, ${way}`,
      reference: "transforms.py AbsoluteActions, then AlohaOutputs",
      ...rel,
      measure() {
        const stats = identityStats();
        const normalized = normalizeActions(floats(expected.deltaActions), stats);
        return maxDifference(
          toRobotActions(normalized, state, ALOHA_DIM, stats, { adaptToPi: adapts }),
          floats(expected.outputActions),
        );
      },
    },
    {
      name: `toPolicyState(), ${way}`,
      reference: "policies/aloha_policy.py AlohaInputs",
      ...rel,
      measure: () =>
        Math.max(...[0, 5].map((row) => {
          const at = row * ALOHA_DIM;
          return maxDifference(
            toPolicyState(states.slice(at, at + ALOHA_DIM), adapts),
            floats(expected.inputStates).slice(at, at + ALOHA_DIM),
          );
        })),
    },
  ];
});

/** What openpi's FASTTokenizer makes of one prompt, state and chunk. */
export interface TokenCase {
  /** Its bound on the sequence: shorter ones are padded, longer ones cut off. */
  readonly maxLen: number;
  /** The task in words. */
  readonly prompt: string;
  /** Normalised. */
  readonly state: readonly number[];
  /** FAST ids; null for a prompt alone. */
  readonly fastTokens: readonly number[] | null;
  /** `[maxLen]` ids of the language vocabulary. */
  readonly tokens: readonly number[];
  /** `[maxLen]` 1 for a token, 0 for padding. */
  readonly mask: string;
  /** `[maxLen]` 1 for a token that is seen causally. */
  readonly arMask: string;
  /** `[maxLen]` 1 for a token that the loss is over. */
  readonly lossMask: string;
}

const text = readGolden<{
  readonly modelVocab: number;
  readonly fastSkipTokens: number;
  readonly cases: readonly TokenCase[];
  readonly bins: { readonly state: Packed; readonly bins: readonly number[] };
  readonly discreteState: {
    readonly state: readonly number[];
    readonly cases: readonly { readonly prompt: string; readonly tokens: readonly number[] }[];
  };
}>("tokens");

let language: LanguageTokenizer | undefined;

/** The fixture's text tokenizer, read at first use. */
export function goldenLanguage(): LanguageTokenizer {
  return language ??= createLanguageTokenizer(
    { tokenizer: readGolden("tokenizer"), config: {} },
    "openpi's fixture",
  );
}

/** openpi's tokenization cases. */
export const TOKEN_CASES: readonly TokenCase[] = text.cases;

/** Prefix and postfix of a case, without any bound on their length. */
export function tokenize(
  { prompt, state, fastTokens }: TokenCase,
): { prefix: Int32Array; postfix: Int32Array } {
  const language = goldenLanguage();
  const prefix = buildPrefix({
    language,
    prompt,
    state: Float32Array.from(state),
    maxTokenLen: Infinity,
  });
  const mapping = {
    vocabSize: text.modelVocab,
    fastSkipTokens: text.fastSkipTokens,
    fastVocabSize: 256,
  };
  const postfix = fastTokens ? buildPostfix(language, fastTokens, mapping) : new Int32Array(0);
  return { prefix, postfix };
}

/** 0 and 1 of a sequence as openpi pads or cuts it. */
function maskText(maxLen: number, ...runs: readonly [bit: string, length: number][]): string {
  return runs.map(([bit, length]) => bit.repeat(length)).join("").padEnd(maxLen, "0")
    .slice(0, maxLen);
}

const tokenItems: FidelityItem[] = [
  {
    name: "256 bins of the state",
    reference: "models/tokenizer.py FASTTokenizer.tokenize",
    unit: "mismatches",
    tolerance: 0,
    ...plain,
    measure() {
      const found = discretizeState(floats(text.bins.state));
      return text.bins.bins.filter((bin, i) => bin !== found[i]).length;
    },
  },
  {
    name: "Token ids of prompt, state and action",
    reference: "models/tokenizer.py FASTTokenizer.tokenize",
    unit: "mismatches",
    tolerance: 0,
    ...plain,
    measure: () =>
      text.cases.filter((c) => {
        const { prefix, postfix } = tokenize(c);
        const ids = [...prefix, ...postfix].slice(0, c.maxLen);
        while (ids.length < c.maxLen) ids.push(0);
        return ids.join() !== c.tokens.join();
      }).length,
  },
  {
    name: "Token, autoregressive and loss masks",
    reference: "models/tokenizer.py FASTTokenizer.tokenize",
    unit: "mismatches",
    tolerance: 0,
    ...plain,
    measure: () =>
      text.cases.filter((c) => {
        const { prefix, postfix } = tokenize(c);
        const isToken = maskText(c.maxLen, ["1", prefix.length + postfix.length]);
        // What the network takes them to be: the prompt is seen whole, what follows causally, and
        // the loss is over what follows.
        const isPostfix = maskText(c.maxLen, ["0", prefix.length], ["1", postfix.length]);
        return isToken !== c.mask || isPostfix !== c.arMask || isPostfix !== c.lossMask;
      }).length,
  },
  {
    name: "Token ids of the prompt that keeps its case",
    reference: "models/tokenizer.py PaligemmaTokenizer.tokenize",
    unit: "mismatches",
    tolerance: 0,
    ...plain,
    measure() {
      const { state, cases } = text.discreteState;
      const language = goldenLanguage();
      return cases.filter(({ prompt, tokens }) => {
        const words = prefixText(prompt, Float32Array.from(state), DIALECTS.lerobot);
        const ids = [language.bosId, ...language.encode(`${words}Action: `)];
        return ids.join() !== tokens.join();
      }).length;
    },
  },
];

/** Pictures, normalisation, ALOHA's convention and text. */
export const TRANSFORM_ITEMS: readonly FidelityItem[] = [
  ...imageItems,
  ...normalizationItems,
  ...alohaItems,
  ...tokenItems,
];
