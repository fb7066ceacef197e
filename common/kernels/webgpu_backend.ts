/**
 * The parts of tfjs's WebGPU backend that kernels of our own touch.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";

/** A kernel as tfjs's WebGPU backend takes it. */
export interface Program {
  /** Of `result`. */
  readonly outputShape: number[];
  /** Axes of the output that the dispatch covers. */
  readonly dispatchLayout: {
    /** All, as one. */
    readonly x: number[];
  };
  /** Workgroups; tfjs spreads what is too many for one axis over several. */
  dispatch: [number, number, number];
  /** Threads of a workgroup. */
  readonly workgroupSize: [number, number, number];
  /** What the inputs are called. */
  readonly variableNames: string[];
  /** Components of an input's elements: 1, or 4 for vectors. */
  readonly variableComponents: number[];
  /** Declarations of uniforms, as in a struct. */
  readonly uniforms: string;
  /** Tells its code from all others'. */
  shaderKey: string;
  /** Its code. */
  getUserCode(): string;
}

/** A number that is given with each run. */
export interface Uniform {
  /** Its type. */
  readonly type: "int32" | "float32";
  /** Its value. */
  readonly data: readonly number[];
}

/** What the WebGPU backend offers to kernels. */
export interface WebgpuBackend {
  /** Run a program; the output is a new tensor, or `output` if there is one. */
  runWebGPUProgram(
    program: Program,
    inputs: readonly TensorInfo[],
    dtype: string,
    uniforms: readonly Uniform[],
    output?: TensorInfo,
  ): TensorInfo;
  /** What is known of each tensor. */
  readonly tensorMap: {
    /** By its id. */
    get(dataId: object): {
      /** A copy of its values on the host, once it has been read. */
      values: unknown;
    };
  };
  /** Free a tensor. */
  disposeData(dataId: object): void;
}

/** What sets a program apart. */
export interface ProgramParts {
  /** Tells its code from all others'. */
  readonly name: string;
  /** Shape of the output. */
  readonly outputShape: readonly number[];
  /** Workgroups. */
  readonly groups: number;
  /** Threads of a workgroup. */
  readonly workgroupSize: readonly [number, number, number];
  /** Inputs in their order, and the components of their elements. */
  readonly inputs: Readonly<Record<string, number>>;
  /** Declarations of uniforms, as in a struct. */
  readonly uniforms: string;
  /** WGSL with a function `main(index : i32)`. */
  readonly code: string;
}

/** A program of its parts. */
export function makeProgram(parts: ProgramParts): Program {
  const { name, outputShape, groups, workgroupSize, inputs, uniforms, code } = parts;
  return {
    outputShape: [...outputShape],
    dispatchLayout: { x: outputShape.map((_, axis) => axis) },
    dispatch: [groups, 1, 1],
    workgroupSize: [...workgroupSize],
    variableNames: Object.keys(inputs),
    variableComponents: Object.values(inputs),
    uniforms,
    shaderKey: name,
    getUserCode: () => code,
  };
}

/** WGSL: the number of this workgroup, however many axes they are spread over, is `groupId()`. */
export const GROUP_ID = `
  fn groupId() -> i32 {
    return i32((workgroupId.z * numWorkgroups.y + workgroupId.y) * numWorkgroups.x + workgroupId.x);
  }`;

/** WGSL: `sumOfGroup(value)`, for all threads of a workgroup, adds up what each has. */
export function groupSum(threads: number): string {
  return `
  var<workgroup> groupParts : array<f32, ${threads}>;
  fn sumOfGroup(value : f32) -> f32 {
    groupParts[localIndex] = value;
    workgroupBarrier();
    for (var half = ${threads / 2}u; half > 0u; half /= 2u) {
      if (localIndex < half) { groupParts[localIndex] += groupParts[localIndex + half]; }
      workgroupBarrier();
    }
    let sum = groupParts[0];
    workgroupBarrier(); // before another sum writes there
    return sum;
  }`;
}
