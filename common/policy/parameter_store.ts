/**
 * The policy's parameters in memory: one weight a layer, looked up by path and index, in float32 or in
 * few bits.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Precision } from "../config/config.ts";
import { QuantizedMatrix } from "../kernels/quantized_matrix.ts";
import { type MatrixKind, type MatrixLayout, matrixLayout } from "../quant/matrix_layout.ts";
import { packMatrices, unpackRows } from "../quant/packed_matrix.ts";
import { type Bits, type QuantizedTensor, quantizeTensor } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import {
  count,
  type ParameterSpec,
  permute,
  splitLayers,
  toCheckpointLayout,
} from "./parameter_layout.ts";
import type { Variable } from "./tensors.ts";

/** A weight of one layer: a matrix or vector in float32, or a matrix in few bits. */
export type Weight = Variable | QuantizedMatrix;

/** How a {@link ParameterStore} keeps its matrices. */
export interface StoragePlan {
  /** Float32, or few bits. */
  readonly precision: Precision;
  /** Matrices that are kept in few bits; all if absent. */
  readonly quantized?: readonly MatrixKind[];
  /** They are kept elsewhere, such as in a decode engine: checked, but not uploaded. */
  readonly isElsewhere?: boolean;
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
  readonly #isElsewhere: boolean;
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
    this.#isElsewhere = storage.isElsewhere ?? false;
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
    if (this.#isElsewhere) return;
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
   * @throws RangeError if there is none, or it is kept elsewhere.
   */
  weight(path: string, index = 0): Weight {
    this.#refuseElsewhere("compute with", path);
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
   * @throws RangeError if one of them is kept in few bits, which cannot be trained, or elsewhere.
   */
  select(accepts: (path: string) => boolean): Variable[] {
    return this.specs.filter((s) => accepts(s.path)).flatMap((s) => {
      this.#refuseElsewhere("train", s.path);
      return this.#weights.get(s.path)!.map((weight) => {
        if (!(weight instanceof QuantizedMatrix)) return weight;
        throw new RangeError(
          `Cannot train parameter ${s.path}: it is kept in ${weight.bits} bits; train the adapters ` +
            "of a LoRA variant, or use --precision float32 with a checkpoint in float32",
        );
      });
    });
  }

  /**
   * The variables of one layer of a stack of blocks, in a fixed order; matrices in few bits are left out.
   * @param prefix What their paths begin with.
   * @param layer Which layer, from 0.
   * @param layers How many there are.
   */
  variablesOfLayer(prefix: string, layer: number, layers: number): Variable[] {
    return this.specs.filter(({ path }) => path.startsWith(prefix)).flatMap(({ path }) => {
      const weights = this.#weights.get(path) ?? [];
      const perLayer = weights.length / layers; // gate and up, key and value are two each
      return weights.slice(layer * perLayer, (layer + 1) * perLayer)
        .filter((weight): weight is Variable => !(weight instanceof QuantizedMatrix));
    });
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
   * Write new values into the weights, quantised where those are. Nothing is rebuilt. Those kept
   * elsewhere are for whoever keeps them to write.
   * @throws RangeError as {@link ParameterStore.check} does; nothing has been written then.
   */
  assign(tensors: readonly HostTensor[]): void {
    this.check(tensors);
    if (this.#isElsewhere) return;
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

  #refuseElsewhere(verb: string, path: string): void {
    if (!this.#isElsewhere) return;
    throw new RangeError(
      `Cannot ${verb} parameter ${path}: a decode engine keeps it, which only acts; load the ` +
        "policy with --decoder tfjs",
    );
  }

  /**
   * Read arrays back in float32, in the layout of a checkpoint.
   * @param accepts Which paths; all if absent.
   * @throws RangeError if one is kept elsewhere.
   */
  async toHost(accepts: (path: string) => boolean = () => true): Promise<HostTensor[]> {
    const out: HostTensor[] = [];
    for (const spec of this.specs.filter(({ path }) => accepts(path))) {
      this.#refuseElsewhere("read back", spec.path);
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
