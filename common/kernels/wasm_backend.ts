/**
 * The parts of tfjs's WebAssembly backend that kernels of our own touch, and its one fast product.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import { assemble, type WasmFunction } from "./wasm_assembler.ts";

/** What the WebAssembly backend offers to kernels. */
export interface WasmBackend {
  /** The compiled module and its memory. */
  readonly wasm: {
    /** What the module exports. */
    readonly asm: {
      /** The memory itself. */
      readonly memory: WebAssembly.Memory;
    };
    /** The memory as float32; replaced when it grows. */
    readonly HEAPF32: Float32Array;
    /** The memory as bytes; replaced when it grows. */
    readonly HEAPU8: Uint8Array;
    /** A function of the module. */
    cwrap(name: string, returns: null, args: readonly string[]): (...args: unknown[]) => void;
    /** What the module knows of tensors. */
    readonly tfjs: {
      /** Give a range of the memory an id. */
      registerTensor(id: number, size: number, memoryOffset: number): void;
      /** Forget an id, and what was cached for it. */
      disposeData(id: number): void;
    };
  };
  /** The next id that is free. */
  dataIdNextNumber: number;
  /** Where each tensor lies. */
  readonly dataIdMap: {
    /** Id and byte offset of a tensor. */
    get(dataId: object): { readonly id: number; readonly memoryOffset: number };
  };
  /** Make a tensor whose values are not set. */
  makeOutput(shape: readonly number[], dtype: string): TensorInfo;
  /** A view of a tensor's values, valid until the memory grows. */
  typedArrayFromHeap(tensor: TensorInfo): Float32Array | Int32Array;
  /** Let one more tensor share values; they are freed with the last. */
  incRef(dataId: object): void;
  /** Free a tensor. */
  disposeData(dataId: object): void;
}

/** Byte offset of a tensor's first number; it stays where it is when the memory grows. */
export function offsetOf(backend: WasmBackend, x: TensorInfo): number {
  return backend.dataIdMap.get(x.dataId).memoryOffset;
}

/** A view of a float32 tensor's values, valid until the memory grows. */
export function floatsOf(backend: WasmBackend, x: TensorInfo): Float32Array {
  return backend.typedArrayFromHeap(x) as Float32Array;
}

/** A row-major float32 matrix in the backend's memory. */
export interface HeapMatrix {
  /** Byte offset of its first number. */
  readonly offset: number;
  /** Rows. */
  readonly rows: number;
  /** Columns. */
  readonly columns: number;
}

/** The backend's BatchMatMul: ids and shapes of both operands, two transpositions, id of the output. */
export type Multiply = (...args: unknown[]) => void;

const functions = new WeakMap<object, Multiply>();

/**
 * The backend's BatchMatMul.
 * @param backend The backend; looked up once for each.
 */
export function multiplyOf({ wasm }: WasmBackend): Multiply {
  let found = functions.get(wasm);
  if (!found) {
    const [id, shape] = ["number", "array"];
    found = wasm.cwrap("BatchMatMul", null, [id, shape, id, id, shape, id, id, id, id]);
    functions.set(wasm, found);
  }
  return found;
}

/** A matrix's shape as BatchMatMul takes it. */
export function shapeBytes(rows: number, columns: number): Uint8Array {
  return new Uint8Array(new Int32Array([1, rows, columns]).buffer);
}

/**
 * a · b by XNNPACK, over ranges of the memory. Nothing is cached: b may change before the next call.
 * The memory may grow, which replaces views of it.
 *
 * @param a `[m, k]`.
 * @param b `[k, p]`.
 * @param out Byte offset of `[m, p]`.
 */
export function multiplyRanges(
  backend: WasmBackend,
  a: HeapMatrix,
  b: HeapMatrix,
  out: number,
): void {
  const { tfjs } = backend.wasm;
  // Ids that nobody had before: XNNPACK keeps the packed form of an operand under its id.
  const view = (size: number, offset: number): number => {
    const id = backend.dataIdNextNumber++;
    tfjs.registerTensor(id, size, offset);
    return id;
  };
  const idA = view(a.rows * a.columns, a.offset);
  const idB = view(b.rows * b.columns, b.offset);
  const idOut = view(a.rows * b.columns, out);
  const shapes = [shapeBytes(a.rows, a.columns), shapeBytes(b.rows, b.columns)];
  multiplyOf(backend)(idA, shapes[0], 3, idB, shapes[1], 3, 0, 0, idOut);
  tfjs.disposeData(idA);
  tfjs.disposeData(idB);
  tfjs.disposeData(idOut);
}

/** The bits of a number in float32: how a function of ours, whose parameters are all i32, takes it. */
export function floatBits(value: number): number {
  return new Int32Array(new Float32Array([value]).buffer)[0];
}

/** Functions in WebAssembly that work on a memory, by their names. */
export type MemoryFunctions = Readonly<Record<string, (...args: number[]) => void>>;

/**
 * A way to functions of our own on a backend's memory; they are compiled once for each memory.
 * @param functions What to compile, when it is first needed. All are exported.
 */
export function onMemory(
  functions: () => readonly WasmFunction[],
): (backend: WasmBackend) => MemoryFunctions {
  const bound = new WeakMap<WebAssembly.Memory, MemoryFunctions>();
  return ({ wasm: { asm: { memory } } }) => {
    let found = bound.get(memory);
    if (!found) {
      const module = new WebAssembly.Module(assemble(functions()));
      found = new WebAssembly.Instance(module, { env: { memory } }).exports as MemoryFunctions;
      bound.set(memory, found);
    }
    return found;
  };
}
