/**
 * Which of a policy's weights are trained.
 * @module
 */

import type { TrainScope } from "../../common/config/config.ts";
import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import type { Variable } from "../../common/policy/tensors.ts";

/** Weights that are trained, always in the same order. */
export interface TrainableVariables {
  /** Of SigLIP and Gemma. */
  readonly backbone: readonly Variable[];
  /** Of the value head: all of them. */
  readonly critic: readonly Variable[];
  /** Whether a path of SigLIP and Gemma is trained; the value head's always are. */
  readonly isTrained: (path: string) => boolean;
}

/**
 * Choose what is trained.
 *
 * `full` is all of the language model, `lora` its adapters alone, `value_head` nothing of the backbone;
 * `auto` is `lora` where there are adapters and `full` where not. The image encoder goes by a flag of
 * its own, unless the value head alone is trained.
 *
 * @throws RangeError if adapters are wanted and there are none, or a matrix in few bits would be
 *   trained, which only adapters and value head can be in spite of.
 */
export function trainableVariables(
  { network }: Pick<ActorCritic, "network">,
  { trainVision, trainScope = "auto" }: {
    readonly trainVision: boolean;
    readonly trainScope?: TrainScope;
  },
): TrainableVariables {
  const { backbone, valueHead, variant } = network;
  const critic = valueHead.select(() => true);
  if (trainScope === "value_head") return { backbone: [], critic, isTrained: () => false };
  const hasAdapters = variant.gemma.lora !== undefined;
  if (trainScope === "lora" && !hasAdapters) {
    throw new RangeError(
      `Cannot train adapters: variant ${variant.name} has none; set --train-scope to full, or ` +
        "--variant to one that has",
    );
  }
  if (trainVision && backbone.precision !== "float32") {
    throw new RangeError(
      `Cannot train the image encoder: its matrices are kept in ${backbone.precision}; add ` +
        "--no-train-vision, or use --precision float32",
    );
  }
  const isAdaptersOnly = trainScope === "lora" || (trainScope === "auto" && hasAdapters);
  const isTrained = (path: string) =>
    path.startsWith("PaliGemma/img/") ? trainVision : !isAdaptersOnly || path.includes("lora");
  return { backbone: backbone.select(isTrained), critic, isTrained };
}
