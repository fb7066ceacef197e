/**
 * Loads a checkpoint into 8 bits in several threads, each with tensors of its own: one reads while
 * another quantises. What they load is handed over without a copy.
 *
 * @module
 */

import { CheckpointError } from "../checkpoint/errors.ts";
import type { MappedTensor } from "../checkpoint/names/mapped_tensor.ts";
import { elementCount } from "../checkpoint/safetensors_header.ts";
import type { HostTensor } from "../types.ts";
import type { Int8Tensor } from "./int8_tensor.ts";
import type { Int8Weights, LoadProgress } from "./load_int8.ts";
import type { LoadReply, LoadRequest } from "./load_int8_messages.ts";

/** How far {@link loadInt8InThreads} is. */
export interface ThreadedLoadProgress extends LoadProgress {
  /** Resident size of the process in bytes. */
  readonly residentBytes: number;
}

/** Options of {@link loadInt8InThreads}. */
export interface ThreadedLoadOptions {
  /** Threads, at least 1; 2 by default, which keeps two cores and the disk busy. */
  readonly threads?: number;
  /** Called after each block. */
  readonly onProgress?: (progress: ThreadedLoadProgress) => void;
}

/** Deal tensors out, the largest first, each to the thread with least to do. */
function deal(mapped: readonly MappedTensor[], threads: number): MappedTensor[][] {
  const size = ({ shape }: MappedTensor) => elementCount(shape);
  const shares = Array.from({ length: threads }, () => ({ tensors: [] as MappedTensor[], sum: 0 }));
  for (const tensor of [...mapped].sort((a, b) => size(b) - size(a))) {
    const least = shares.reduce((a, b) => b.sum < a.sum ? b : a);
    least.tensors.push(tensor);
    least.sum += size(tensor);
  }
  return shares.map(({ tensors }) => tensors).filter((tensors) => tensors.length > 0);
}

function loadShare(
  worker: Worker,
  request: LoadRequest,
  onProgress: (reply: LoadReply & { kind: "progress" }) => void,
): Promise<LoadReply & { kind: "loaded" }> {
  const { promise, resolve, reject } = Promise.withResolvers<LoadReply & { kind: "loaded" }>();
  worker.onmessage = ({ data }: MessageEvent<LoadReply>) => {
    if (data.kind === "loaded") resolve(data);
    else if (data.kind === "failed") reject(new CheckpointError(data.sentence));
    else {
      try {
        onProgress(data);
      } catch (error) {
        reject(error);
      }
    }
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(`A thread that loads ${request.path} failed: ${event.message}`));
  };
  worker.postMessage(request);
  return promise;
}

/**
 * Load a checkpoint into 8 bits in threads. Check it first: nothing is checked here.
 *
 * @param path The checkpoint; each thread opens it.
 * @param mapped What to load and what it is made of, such as `mapped` of a plan.
 * @param options Threads and progress. What `onProgress` throws ends the loading.
 * @returns The weights, as {@link loadInt8} gives them.
 * @throws {CheckpointError} When the checkpoint is damaged or a number is not finite. All threads have
 *   ended then.
 */
export async function loadInt8InThreads(
  path: string,
  mapped: readonly MappedTensor[],
  { threads = 2, onProgress = () => {} }: ThreadedLoadOptions = {},
): Promise<Int8Weights> {
  const total = mapped.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const shares = deal(mapped, threads);
  const done = shares.map(() => 0);
  const workers: Worker[] = [];
  try {
    const parts = await Promise.all(shares.map((share, i) => {
      const url = new URL("./load_int8_worker.ts", import.meta.url);
      workers.push(new Worker(url, { type: "module" }));
      return loadShare(workers[i], { path, mapped: share }, (reply) => {
        done[i] = reply.done;
        const { name, residentBytes } = reply;
        onProgress({ done: done.reduce((a, b) => a + b, 0), total, name, residentBytes });
      });
    }));
    const matrices = new Map<string, Int8Tensor>();
    const floats = new Map<string, HostTensor>();
    for (const part of parts) {
      for (const tensor of part.matrices) matrices.set(tensor.name, tensor);
      for (const tensor of part.floats) floats.set(tensor.name, tensor);
    }
    return { matrices, floats };
  } finally {
    for (const worker of workers) worker.terminate();
  }
}
