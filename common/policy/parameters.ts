/**
 * The policy's parameters: their paths and shapes as openpi names them, their layout in memory, and
 * the way between the two.
 *
 * A checkpoint stacks all layers of one kind on axis 0 (and gate/up, key/value on axis 1). Computing
 * wants one matrix a layer, already in the `[in, out]` order that a matmul takes. A
 * {@link ParameterSpec} says how one stacked array falls apart into such matrices.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Precision } from "../config/config.ts";
import { QuantizedMatrix } from "../kernels/quantized_matrix.ts";
import { type MatrixKind, type MatrixLayout, matrixLayout } from "../quant/matrix_layout.ts";
import { packMatrices, unpackRows } from "../quant/packed_matrix.ts";
import { type Bits, type QuantizedTensor, quantizeTensor } from "../quant/quantized_tensor.ts";
import type { Variable } from "./tensors.ts";
import type { HostTensor } from "../types.ts";
import type { GemmaSize, PolicyVariant, SiglipSize } from "./variants.ts";
import { tokensPerImage } from "./variants.ts";

/** How a fresh parameter is drawn. */
export type Initializer =
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" }
  | { readonly kind: "normal"; readonly stddev: number };

/** One array of a checkpoint. */
export interface ParameterSpec {
  /** Path with openpi's names. */
  readonly path: string;
  /** Shape in the checkpoint. */
  readonly shape: readonly number[];
  /** How many leading axes are split, each index becoming a tensor of its own. */
  readonly stackedAxes: number;
  /** Order of the remaining axes in memory; identity when absent. */
  readonly permutation?: readonly number[];
  /** Shape in memory after the permutation. */
  readonly computeShape: readonly number[];
  /** How it is drawn when there is no checkpoint. */
  readonly initializer: Initializer;
}

const ZEROS: Initializer = { kind: "zeros" };
const ONES: Initializer = { kind: "ones" };
const fanIn = (n: number): Initializer => ({ kind: "normal", stddev: 1 / Math.sqrt(n) });
/** openpi draws both LoRA factors from normal(0.01) (`gemma_fast.py`). */
const LORA_INIT: Initializer = { kind: "normal", stddev: 0.01 };

function dense(path: string, rows: number, columns: number, init: Initializer): ParameterSpec {
  const shape = [rows, columns];
  return { path, shape, stackedAxes: 0, computeShape: shape, initializer: init };
}

function vector(path: string, size: number, initializer = ZEROS): ParameterSpec {
  return { path, shape: [size], stackedAxes: 0, computeShape: [size], initializer };
}

function siglipSpecs(size: SiglipSize, outWidth: number): ParameterSpec[] {
  const { width: D, depth: L, mlpDim: F, heads: N, patch } = size;
  const K = D / N;
  const block = "PaliGemma/img/Transformer/encoderblock";
  const attention = `${block}/MultiHeadDotProductAttention_0`;
  const stacked = (
    path: string,
    inner: readonly number[],
    computeShape: readonly number[],
    initializer: Initializer,
  ): ParameterSpec => ({ path, shape: [L, ...inner], stackedAxes: 1, computeShape, initializer });
  const projection = (name: string) => [
    stacked(`${attention}/${name}/kernel`, [D, N, K], [D, N * K], fanIn(D)),
    stacked(`${attention}/${name}/bias`, [N, K], [N * K], ZEROS),
  ];
  const layerNorm = (name: string) => [
    stacked(`${block}/${name}/scale`, [D], [D], ONES),
    stacked(`${block}/${name}/bias`, [D], [D], ZEROS),
  ];
  return [
    {
      path: "PaliGemma/img/embedding/kernel",
      shape: [patch, patch, 3, D],
      stackedAxes: 0,
      computeShape: [patch * patch * 3, D],
      initializer: fanIn(patch * patch * 3),
    },
    vector("PaliGemma/img/embedding/bias", D),
    {
      path: "PaliGemma/img/pos_embedding",
      shape: [1, tokensPerImage(size), D],
      stackedAxes: 0,
      computeShape: [1, tokensPerImage(size), D],
      initializer: fanIn(D),
    },
    ...layerNorm("LayerNorm_0"),
    ...projection("query"),
    ...projection("key"),
    ...projection("value"),
    stacked(`${attention}/out/kernel`, [N, K, D], [N * K, D], fanIn(D)),
    stacked(`${attention}/out/bias`, [D], [D], ZEROS),
    ...layerNorm("LayerNorm_1"),
    stacked(`${block}/MlpBlock_0/Dense_0/kernel`, [D, F], [D, F], fanIn(D)),
    stacked(`${block}/MlpBlock_0/Dense_0/bias`, [F], [F], ZEROS),
    stacked(`${block}/MlpBlock_0/Dense_1/kernel`, [F, D], [F, D], fanIn(F)),
    stacked(`${block}/MlpBlock_0/Dense_1/bias`, [D], [D], ZEROS),
    vector("PaliGemma/img/Transformer/encoder_norm/scale", D, ONES),
    vector("PaliGemma/img/Transformer/encoder_norm/bias", D),
    dense("PaliGemma/img/head/kernel", D, outWidth, fanIn(D)),
    vector("PaliGemma/img/head/bias", outWidth),
  ];
}

function gemmaSpecs(size: GemmaSize): ParameterSpec[] {
  const { width: D, depth: L, mlpDim: F, heads: N, headDim: K, vocab: V } = size;
  const layers = "PaliGemma/llm/layers";
  const norm = (name: string): ParameterSpec => ({
    path: `${layers}/${name}/scale`,
    shape: [L, D],
    stackedAxes: 1,
    computeShape: [D],
    initializer: ZEROS,
  });
  const specs: ParameterSpec[] = [
    {
      path: "PaliGemma/llm/embedder/input_embedding",
      shape: [V, D],
      stackedAxes: 0,
      computeShape: [V, D],
      initializer: fanIn(D),
    },
    norm("pre_attention_norm"),
    {
      path: `${layers}/attn/q_einsum/w`,
      shape: [L, N, D, K],
      stackedAxes: 1,
      permutation: [1, 0, 2],
      computeShape: [D, N * K],
      initializer: fanIn(D),
    },
    {
      path: `${layers}/attn/kv_einsum/w`,
      shape: [L, 2, 1, D, K],
      stackedAxes: 2,
      computeShape: [D, K],
      initializer: fanIn(D),
    },
    {
      path: `${layers}/attn/attn_vec_einsum/w`,
      shape: [L, N, K, D],
      stackedAxes: 1,
      computeShape: [N * K, D],
      initializer: fanIn(N * K),
    },
    norm("pre_ffw_norm"),
    {
      path: `${layers}/mlp/gating_einsum`,
      shape: [L, 2, D, F],
      stackedAxes: 2,
      computeShape: [D, F],
      initializer: fanIn(D),
    },
    {
      path: `${layers}/mlp/linear`,
      shape: [L, F, D],
      stackedAxes: 1,
      computeShape: [F, D],
      initializer: fanIn(F),
    },
    vector("PaliGemma/llm/final_norm/scale", D),
  ];
  return size.lora ? [...specs, ...loraSpecs(size, size.lora.rank)] : specs;
}

/** Adapters, with the shapes that openpi's einsum strings give them (`lora.py`). */
function loraSpecs(size: GemmaSize, R: number): ParameterSpec[] {
  const { width: D, depth: L, mlpDim: F, heads: N, headDim: K } = size;
  const attention = "PaliGemma/llm/layers/attn";
  const mlp = "PaliGemma/llm/layers/mlp";
  const adapter = (
    path: string,
    stack: readonly number[],
    inner: readonly number[],
    computeShape: readonly number[],
  ): ParameterSpec => ({
    path,
    shape: [...stack, ...inner],
    stackedAxes: stack.length,
    computeShape,
    initializer: LORA_INIT,
  });
  return [
    adapter(`${attention}/q_einsum/lora_a`, [L], [N, D, R], [N, D, R]),
    adapter(`${attention}/q_einsum/lora_b`, [L], [N, R, K], [N, R, K]),
    adapter(`${attention}/kv_einsum/lora_a`, [L, 2], [1, D, R], [D, R]),
    adapter(`${attention}/kv_einsum/lora_b`, [L, 2], [1, R, K], [R, K]),
    adapter(`${attention}/attn_vec_einsum/lora_a`, [L], [N, K, R], [N * K, R]),
    adapter(`${attention}/attn_vec_einsum/lora_b`, [L], [N, R, D], [N, R, D]),
    adapter(`${mlp}/gating_einsum_lora_a`, [L, 2], [D, R], [D, R]),
    adapter(`${mlp}/gating_einsum_lora_b`, [L, 2], [R, F], [R, F]),
    adapter(`${mlp}/linear_lora_a`, [L], [F, R], [F, R]),
    adapter(`${mlp}/linear_lora_b`, [L], [R, D], [R, D]),
  ];
}

/**
 * Every array of a policy's backbone, in a fixed order.
 * @param variant Sizes.
 */
export function backboneSpecs(variant: PolicyVariant): ParameterSpec[] {
  return [...siglipSpecs(variant.siglip, variant.gemma.width), ...gemmaSpecs(variant.gemma)];
}

/**
 * Every array of the value head: an MLP `D → hidden → hidden → 1`.
 * @param width D, the model width that it reads.
 * @param hidden Width of the hidden layers.
 */
export function valueHeadSpecs(width: number, hidden: number): ParameterSpec[] {
  return [
    dense("dense_0/kernel", width, hidden, fanIn(width)),
    vector("dense_0/bias", hidden),
    dense("dense_1/kernel", hidden, hidden, fanIn(hidden)),
    vector("dense_1/bias", hidden),
    // Zero, so that a fresh critic starts at 0 everywhere and disturbs nothing.
    dense("out/kernel", hidden, 1, ZEROS),
    vector("out/bias", 1),
  ];
}

const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Number of scalars in a list of arrays. */
export function parameterCount(specs: readonly ParameterSpec[]): number {
  return specs.reduce((sum, spec) => sum + count(spec.shape), 0);
}

/** Copy `source` of `shape` into a new array with its axes in the order `permutation`. */
export function permute(
  source: Float32Array,
  shape: readonly number[],
  permutation: readonly number[],
): Float32Array {
  const out = new Float32Array(source.length);
  const strides = shape.map((_, axis) => count(shape.slice(axis + 1)));
  const outShape = permutation.map((axis) => shape[axis]);
  const outStrides = permutation.map((axis) => strides[axis]);
  const index = new Array(shape.length).fill(0);
  let offset = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = source[offset];
    for (let axis = outShape.length - 1; axis >= 0; axis--) {
      offset += outStrides[axis];
      if (++index[axis] < outShape[axis]) break;
      offset -= outStrides[axis] * outShape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

/** The permutation that undoes `permutation`. */
function inverse(permutation: readonly number[]): number[] {
  const out = new Array<number>(permutation.length);
  permutation.forEach((axis, i) => (out[axis] = i));
  return out;
}

/** A weight of one layer: a matrix or vector in float32, or a matrix in few bits. */
export type Weight = Variable | QuantizedMatrix;

/** How a {@link ParameterStore} keeps its matrices. */
export interface StoragePlan {
  /** Float32, or few bits. */
  readonly precision: Precision;
  /** Matrices that are kept in few bits; all if absent. */
  readonly quantized?: readonly MatrixKind[];
}

const BITS: Readonly<Record<Precision, Bits | undefined>> = {
  float32: undefined,
  int8: 8,
  int4: 4,
};

/**
 * Parameters in memory: one {@link Weight} a layer, looked up by path and index.
 *
 * Owner of its weights: {@link ParameterStore.dispose} frees them all.
 */
export class ParameterStore {
  /** What it holds. */
  readonly specs: readonly ParameterSpec[];
  /** How its matrices are kept; a tensor that came in few bits counts. */
  readonly precision: Precision;
  readonly #weights = new Map<string, Weight[]>();

  /**
   * Make the weights.
   * @param specs What to hold.
   * @param tensors Values with the shapes of `specs`, by path; matrices in few bits stay so.
   * @param storage How to keep matrices that are given in float32; as they are if absent.
   * @throws RangeError naming the first array that is missing or has another shape.
   */
  constructor(
    specs: readonly ParameterSpec[],
    tensors: ReadonlyMap<string, HostTensor | QuantizedTensor>,
    storage: StoragePlan = { precision: "float32" },
  ) {
    this.specs = specs;
    // All are checked before the first variable is made: a constructor that throws owns nothing.
    const values = specs.map((spec) => {
      const found = tensors.get(spec.path);
      if (!found) {
        throw new RangeError(`Cannot build the policy: parameter ${spec.path} is missing`);
      }
      if (found.shape.join() !== spec.shape.join()) {
        throw new RangeError(
          `Cannot build the policy: parameter ${spec.path} has shape [${found.shape}], ` +
            `the variant wants [${spec.shape}]`,
        );
      }
      if (!("bits" in found)) checkLength("build the policy", found);
      return found;
    });
    const wanted = BITS[storage.precision];
    const stored = values.flatMap((value) => "bits" in value ? [value.bits] : []);
    const bits = wanted ?? stored[0];
    const odd = stored.find((found) => found !== bits);
    if (odd !== undefined) {
      throw new RangeError(
        `Cannot build the policy: it has matrices in ${odd} bits, ${bits} are wanted; load the ` +
          "checkpoint that they were quantised from",
      );
    }
    this.precision = bits === undefined ? "float32" : `int${bits}`;
    using made = new DisposableStack(); // frees what is there if a number cannot be quantised
    made.defer(() => this.dispose());
    specs.forEach((spec, i) => {
      this.#weights.set(spec.path, makeWeights(spec, values[i], wanted, storage.quantized));
    });
    made.move();
  }

  /**
   * The float32 variable of a path, in compute layout.
   * @param index Which of the stacked layers; 0 for arrays that are not stacked.
   * @throws RangeError if there is none, or the matrix is kept in few bits.
   */
  get(path: string, index = 0): Variable {
    const weight = this.weight(path, index);
    if (weight instanceof QuantizedMatrix) {
      throw new RangeError(
        `Cannot take parameter ${path} as float32: it is kept in ${weight.bits} bits`,
      );
    }
    return weight;
  }

  /**
   * The weight of a path, in float32 or few bits.
   * @param index Which of the stacked layers; 0 for arrays that are not stacked.
   */
  weight(path: string, index = 0): Weight {
    const weight = this.#weights.get(path)?.[index];
    if (!weight) throw new RangeError(`The policy has no parameter ${path} at layer ${index}`);
    return weight;
  }

  /** True if the path is held. */
  has(path: string): boolean {
    return this.#weights.has(path);
  }

  /**
   * The variables whose path passes a test, in a fixed order.
   * @throws RangeError if one of them is kept in few bits, which cannot be trained.
   */
  select(accepts: (path: string) => boolean): Variable[] {
    return this.specs.filter((s) => accepts(s.path)).flatMap((s) =>
      this.#weights.get(s.path)!.map((weight) => {
        if (!(weight instanceof QuantizedMatrix)) return weight;
        throw new RangeError(
          `Cannot train parameter ${s.path}: it is kept in ${weight.bits} bits; train the adapters ` +
            "of a LoRA variant, or use --precision float32 with a checkpoint in float32",
        );
      })
    );
  }

  /** Bytes that all weights take. */
  get bytes(): number {
    return [...this.#weights.values()].flat().reduce(
      (sum, weight) => sum + (weight instanceof QuantizedMatrix ? weight.bytes : 4 * weight.size),
      0,
    );
  }

  /**
   * Check that values can be assigned.
   * @throws RangeError naming the first array that the store has not or that has another shape.
   */
  check(tensors: Iterable<HostTensor>): void {
    for (const tensor of tensors) this.#specOf(tensor);
  }

  /**
   * Write new values into the weights, quantised where those are. Nothing is rebuilt.
   * @throws RangeError as {@link ParameterStore.check} does; nothing has been written then.
   */
  assign(tensors: readonly HostTensor[]): void {
    this.check(tensors);
    for (const tensor of tensors) {
      const spec = this.#specOf(tensor);
      const weights = this.#weights.get(tensor.name)!;
      const [first] = weights;
      if (first instanceof QuantizedMatrix) {
        const quantized = quantizeTensor(tensor, layoutOf(spec), first.bits);
        const perLayer = quantized.layout.outer / weights.length;
        weights.forEach((weight, i) =>
          (weight as QuantizedMatrix).assign(packMatrices(quantized, i * perLayer, perLayer))
        );
        continue;
      }
      splitLayers(spec, tensor.data).forEach((layer, i) => {
        tf.tidy(() => (weights[i] as Variable).assign(tf.tensor(layer, [...spec.computeShape])));
      });
    }
  }

  #specOf(tensor: HostTensor): ParameterSpec {
    const spec = this.specs.find((s) => s.path === tensor.name);
    if (!spec) throw new RangeError(`The policy has no parameter ${tensor.name}`);
    if (tensor.shape.join() !== spec.shape.join()) {
      throw new RangeError(
        `Cannot assign ${tensor.name}: shape [${tensor.shape}], the policy wants [${spec.shape}]`,
      );
    }
    checkLength("assign", tensor);
    return spec;
  }

  /** Read every array back in float32, in the layout of a checkpoint. */
  async toHost(): Promise<HostTensor[]> {
    const out: HostTensor[] = [];
    for (const spec of this.specs) {
      const data = new Float32Array(count(spec.shape));
      const weights = this.#weights.get(spec.path)!;
      const size = data.length / weights.length;
      for (const [i, weight] of weights.entries()) {
        const layer = weight instanceof QuantizedMatrix
          ? await dequantizedLayer(weight, layoutOf(spec))
          : toCheckpointLayout(spec, await weight.data<"float32">());
        data.set(layer, i * size);
      }
      out.push({ name: spec.path, shape: spec.shape, data });
    }
    return out;
  }

  /** Free every weight. */
  dispose(): void {
    for (const weight of [...this.#weights.values()].flat()) {
      if (weight instanceof QuantizedMatrix) weight[Symbol.dispose]();
      else weight.dispose();
    }
    this.#weights.clear();
  }
}

/** How a path that is kept in few bits is seen as matrices. */
function layoutOf({ path, shape }: ParameterSpec): MatrixLayout {
  const layout = matrixLayout(path, shape);
  if (layout) return layout;
  throw new RangeError(`Cannot keep parameter ${path} in few bits: it is no matrix of the policy`);
}

/** The weights of a stacked array, one a layer. */
function makeWeights(
  spec: ParameterSpec,
  value: HostTensor | QuantizedTensor,
  bits: Bits | undefined,
  kinds: readonly MatrixKind[] | undefined,
): Weight[] {
  if ("bits" in value) return packedLayers(spec, value);
  const layout = bits && matrixLayout(spec.path, spec.shape, kinds);
  if (bits && layout) return packedLayers(spec, quantizeTensor(value, layout, bits));
  return splitLayers(spec, value.data).map((layer) => {
    const initial = tf.tensor(layer, [...spec.computeShape]);
    const variable = tf.variable(initial);
    initial.dispose(); // The variable holds the data by itself.
    return variable;
  });
}

function packedLayers(spec: ParameterSpec, tensor: QuantizedTensor): QuantizedMatrix[] {
  const layers = count(spec.shape.slice(0, spec.stackedAxes));
  const perLayer = tensor.layout.outer / layers;
  return Array.from(
    { length: layers },
    (_, i) => new QuantizedMatrix(packMatrices(tensor, i * perLayer, perLayer)),
  );
}

/** One layer in float32, in the order of axes that checkpoints have. */
async function dequantizedLayer(
  weight: QuantizedMatrix,
  { contraction, inner }: MatrixLayout,
): Promise<Float32Array> {
  const rows = new Float32Array(weight.rows * contraction);
  unpackRows(await weight.toHost(), 0, weight.rows, rows);
  if (inner === 1) return rows;
  // Rows are [O · I, C], a checkpoint has [O, C, I].
  return permute(rows, [weight.rows / inner, inner, contraction], [0, 2, 1]);
}

function checkLength(verb: string, { name, shape, data }: HostTensor): void {
  if (data.length !== count(shape)) {
    throw new RangeError(
      `Cannot ${verb}: parameter ${name} of shape [${shape}] has ${data.length} values, ` +
        `${count(shape)} are needed`,
    );
  }
}

function splitLayers(spec: ParameterSpec, data: Float32Array): Float32Array[] {
  const layers = count(spec.shape.slice(0, spec.stackedAxes));
  const inner = spec.shape.slice(spec.stackedAxes);
  const size = data.length / layers;
  return Array.from({ length: layers }, (_, i) => {
    const layer = data.slice(i * size, (i + 1) * size);
    return spec.permutation ? permute(layer, inner, spec.permutation) : layer;
  });
}

/**
 * One layer in the order of axes that checkpoints have.
 * @param spec The array that it is a layer of.
 * @param layer Its values in compute layout, `spec.computeShape`.
 */
export function toCheckpointLayout(spec: ParameterSpec, layer: Float32Array): Float32Array {
  if (!spec.permutation) return layer;
  const inner = spec.shape.slice(spec.stackedAxes);
  const permuted = spec.permutation.map((axis) => inner[axis]);
  return permute(layer, permuted, inverse(spec.permutation));
}

/**
 * Draw fresh values for a list of arrays.
 * @param normal Gives independent standard normal numbers.
 */
export function drawParameters(
  specs: readonly ParameterSpec[],
  normal: () => number,
): Map<string, HostTensor> {
  const out = new Map<string, HostTensor>();
  for (const { path, shape, initializer } of specs) {
    const data = new Float32Array(count(shape));
    if (initializer.kind === "ones") data.fill(1);
    if (initializer.kind === "normal") {
      for (let i = 0; i < data.length; i++) data[i] = normal() * initializer.stddev;
    }
    out.set(path, { name: path, shape, data });
  }
  return out;
}
