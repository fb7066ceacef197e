/**
 * Where imitation starts from scratch: drawn weights, with one piece of knowledge put in.
 * @module
 */

import { backboneSpecs, drawParameters } from "../common/policy/parameters.ts";
import type { PolicyVariant } from "../common/policy/variants.ts";
import type { LanguageTokenizer } from "../common/tokenizer/language.ts";
import type { HostTensor } from "../common/types.ts";

/** Bins of a state number in the prompt. */
const STATE_BINS = 256;
/** Waves over the range of bins go from half a turn to this many. */
const MOST_TURNS = 8;

/**
 * Fresh weights of a backbone. The embeddings of the numbers 0–255 lie on a smooth curve (a sum of
 * sines whose scale is that of the other embeddings), so that neighbouring joint angles begin alike;
 * a large language model brings this from its pre-training, a small one has to be given it.
 * @param normal Independent standard normal numbers.
 * @returns Every array of the backbone by path.
 */
export function drawBackbone(
  variant: PolicyVariant,
  language: LanguageTokenizer,
  normal: () => number,
): Map<string, HostTensor> {
  const tensors = drawParameters(backboneSpecs(variant), normal);
  const { width } = variant.gemma;
  const embedding = tensors.get("PaliGemma/llm/embedder/input_embedding")!.data;
  const amplitude = Math.sqrt(2 / width);
  for (let j = 0; j < width; j++) {
    const turns = 0.5 + (MOST_TURNS - 0.5) * (j / width) ** 2;
    const phase = 2 * Math.PI * normal();
    for (let bin = 0; bin < STATE_BINS; bin++) {
      const [id] = language.encode(String(bin));
      const angle = 2 * Math.PI * turns * bin / STATE_BINS + phase;
      embedding[id * width + j] = amplitude * Math.sin(angle);
    }
  }
  return tensors;
}
