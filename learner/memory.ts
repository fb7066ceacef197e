/**
 * How much memory of its device the training of adapters over weights in few bits takes: arithmetic, for
 * choosing `--micro-batch-size` before a large model is loaded.
 *
 * @module
 */

import type { Precision } from "../common/config/config.ts";
import { backboneSpecs, type ParameterSpec, valueHeadSpecs } from "../common/policy/parameters.ts";
import { type PolicyVariant, tokensPerImage } from "../common/policy/variants.ts";
import { GROUP_SIZE } from "../common/quant/group_scale.ts";
import { matrixLayout } from "../common/quant/matrix_layout.ts";
import { CAMERA_NAMES } from "../common/types.ts";

const FLOAT_BYTES = 4;
/** Scales of quantisation groups are half floats. */
const SCALE_BYTES = 2;
const BITS: Readonly<Record<Precision, number>> = { float32: 32, int8: 8, int4: 4 };

/**
 * Copies of a trained number: itself, its gradient, Adam's two moments, and while gradients of
 * micro-batches are added up the sum so far and the next one.
 */
const COPIES = 6;

/**
 * Float32 numbers that a token takes while the gradient of one block of layers is computed, per unit of
 * a size. Measured as tfjs's peak over models of made-up sizes (D 32–192, F 64–1024, K 16–128, rank 4–32)
 * and rounded up; the fit is within 10 %. It holds the gradient of every number of the block until the
 * block is done.
 */
const PER_TOKEN = {
  /** D: the block's states, its norms and its residuals. */
  width: 56,
  /** F: gate, up and their products. */
  mlp: 22,
  /** N·K: queries, their rotations, adapters and outputs. */
  heads: 32,
  /** T: masks. */
  keys: 5,
  /** D and layer: the input of each block, and its gradient. */
  kept: 6,
} as const;

/** What is trained, and how. */
export interface MemoryOptions {
  /** How the matrices are kept. */
  readonly precision: Precision;
  /** Chunks that are differentiated at once. */
  readonly microBatchSize: number;
  /** Text tokens of a sequence, prompt and action together: `--max-token-len`. */
  readonly textTokens: number;
  /** Width of the value head. */
  readonly valueHeadHiddenDim: number;
  /** Whether a second policy is held as anchor of the KL. */
  readonly hasAnchor?: boolean;
}

/** Bytes by what they are for. */
export interface MemoryPlan {
  /** Frozen weights as they lie on the device. */
  readonly frozen: number;
  /** Adapters and value head, with gradients and Adam's moments. */
  readonly trained: number;
  /** What a micro-batch's forward and backward pass hold at most. */
  readonly activations: number;
  /** The anchor's weights; 0 without one. */
  readonly anchor: number;
  /** All of them. */
  readonly total: number;
}

const count = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1);

/** Bytes of a parameter as it is kept. */
function storedBytes({ path, shape }: ParameterSpec, { quantized }: PolicyVariant, bits: number) {
  const layout = bits < 32 ? matrixLayout(path, shape, quantized) : undefined;
  if (!layout) return FLOAT_BYTES * count(shape);
  const { outer, contraction, inner } = layout;
  const groups = outer * inner * Math.ceil(contraction / GROUP_SIZE);
  return groups * (GROUP_SIZE * bits / 8 + SCALE_BYTES);
}

/**
 * Memory that training a LoRA variant's adapters and value head takes, the image encoder frozen.
 * @param variant One with adapters.
 * @param options How.
 * @returns Bytes; what a device's own pools add comes on top.
 * @throws RangeError if the variant has no adapters, or keeps its matrices in float32: then the
 *   activations of all blocks are held, which this is no arithmetic of.
 */
export function learnerMemory(variant: PolicyVariant, options: MemoryOptions): MemoryPlan {
  const { precision, microBatchSize, textTokens, valueHeadHiddenDim, hasAnchor = false } = options;
  const { gemma, siglip } = variant;
  if (!gemma.lora || precision === "float32") {
    throw new RangeError(
      `Cannot work out the memory of variant ${variant.name} in ${precision}: it is known for ` +
        "adapters over matrices in few bits; choose int8 or int4 and a LoRA variant",
    );
  }
  const specs = backboneSpecs(variant);
  const isAdapter = ({ path }: ParameterSpec) => path.includes("lora");
  const frozen = specs.filter((spec) => !isAdapter(spec))
    .reduce((sum, spec) => sum + storedBytes(spec, variant, BITS[precision]), 0);
  const head = valueHeadSpecs(gemma.width, valueHeadHiddenDim);
  const numbers = [...specs.filter(isAdapter), ...head].reduce((sum, s) => sum + count(s.shape), 0);
  const tokens = CAMERA_NAMES.length * tokensPerImage(siglip) + textTokens;
  const perToken = PER_TOKEN.width * gemma.width + PER_TOKEN.mlp * gemma.mlpDim +
    PER_TOKEN.heads * gemma.heads * gemma.headDim + PER_TOKEN.keys * tokens +
    PER_TOKEN.kept * gemma.width * gemma.depth;
  const trained = COPIES * FLOAT_BYTES * numbers;
  const activations = microBatchSize * FLOAT_BYTES * tokens * perToken;
  const anchor = hasAnchor ? frozen + FLOAT_BYTES * numbers : 0;
  return { frozen, trained, activations, anchor, total: frozen + trained + activations + anchor };
}
