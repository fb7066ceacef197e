/**
 * How kernels of our own come to tfjs: each family is written for its three kinds of backend, and is
 * registered with a backend when it is first used there. Importing registers nothing.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { NamedTensorMap, Tensor, TensorInfo } from "../policy/tensors.ts";

/** Kernels of one kind of backend by their names; each is called with its inputs, attributes, backend. */
export type KernelTable = Readonly<Record<string, (args: never) => TensorInfo | TensorInfo[]>>;

/** What a kernel is called with: tensors by name, attributes, and the backend that it runs on. */
export interface KernelArgs<Inputs extends string, Attrs, Backend> {
  /** Tensors by name. */
  readonly inputs: Readonly<Record<Inputs, TensorInfo>>;
  /** Attributes. */
  readonly attrs: Attrs;
  /** Where it runs. */
  readonly backend: Backend;
}

/** The gradient of one kernel. */
export interface KernelGradient {
  /** Inputs that it needs. None if absent. */
  readonly inputs?: readonly string[];
  /** Which outputs it needs. None if absent. */
  readonly outputs?: readonly boolean[];
  /**
   * Gradients of the inputs by their names, each computed when it is asked for.
   * @param dy Gradient of the output.
   * @param saved The inputs, then the outputs, that it needs.
   * @param attrs Attributes that the kernel was called with.
   */
  readonly of: (
    dy: Tensor,
    saved: readonly Tensor[],
    attrs: object,
  ) => Readonly<Record<string, () => Tensor>>;
}

/** Kernels that belong together. */
export interface KernelFamily {
  /** For tfjs's cpu backend: the definition that the others are held to. */
  readonly cpu: KernelTable;
  /** For the WebAssembly backend. */
  readonly wasm: KernelTable;
  /** For WebGPU backends, whatever their names. */
  readonly webgpu: KernelTable;
  /** Gradients by the names of kernels, the same for every backend. */
  readonly gradients?: Readonly<Record<string, KernelGradient>>;
}

/** The kinds of backend that kernels are written for. */
export type BackendKind = "cpu" | "wasm" | "webgpu";

/** Kind of the backend in force. */
export function backendKind(): BackendKind {
  const backend = tf.backend() as unknown as Record<string, unknown>;
  if ("runWebGPUProgram" in backend) return "webgpu";
  return "wasm" in backend ? "wasm" : "cpu";
}

/**
 * A function that makes sure that a family's kernels are there for the backend in force. Call it
 * before each {@link runKernel}.
 */
export function kernelRegistrar(family: KernelFamily): () => void {
  const registered = new Set<string>();
  return () => {
    const backendName = tf.getBackend();
    if (registered.has(backendName)) return;
    for (const [kernelName, kernelFunc] of Object.entries(family[backendKind()])) {
      tf.registerKernel({ kernelName, backendName, kernelFunc: kernelFunc as tf.KernelFunc });
    }
    if (registered.size === 0) registerGradients(family.gradients ?? {});
    registered.add(backendName);
  };
}

function registerGradients(gradients: Readonly<Record<string, KernelGradient>>): void {
  for (const [kernelName, { inputs, outputs, of }] of Object.entries(gradients)) {
    tf.registerGradient({
      kernelName,
      inputsToSave: inputs && [...inputs],
      outputsToSave: outputs && [...outputs],
      gradFunc: (dy, saved, attrs) => ({ ...of(dy as Tensor, saved, attrs) }),
    });
  }
}

/**
 * Run a kernel with one output.
 * @param inputs Its inputs by name.
 * @param attrs Its attributes.
 */
export function runKernel(kernelName: string, inputs: NamedTensorMap, attrs: object = {}): Tensor {
  return tf.engine().runKernel(kernelName, inputs, attrs as tf.NamedAttrMap) as Tensor;
}

/**
 * Run a kernel with several outputs.
 * @param inputs Its inputs by name.
 * @param attrs Its attributes.
 */
export function runKernelForAll(
  kernelName: string,
  inputs: NamedTensorMap,
  attrs: object = {},
): Tensor[] {
  return tf.engine().runKernel(kernelName, inputs, attrs as tf.NamedAttrMap) as unknown as Tensor[];
}
