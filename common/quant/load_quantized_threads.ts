/**
 * Loads a checkpoint into few bits in several threads, each with tensors of its own: one reads while
 * another quantises. What they load is handed over without a copy.
 *
 * @module
 */

import { CheckpointError } from "../checkpoint/errors.ts";
import type { MappedTensor } from "../checkpoint/names/mapped_tensor.ts";
import { elementCount } from "../checkpoint/safetensors_header.ts";
import type { HostTensor } from "../types.ts";
import type { LoadProgress, QuantizedTarget } from "./load_quantized.ts";
import type { LoadReply, LoadRequest } from "./load_quantized_messages.ts";
import type { QuantizedTensor, QuantizedWeights } from "./quantized_tensor.ts";

/** How far {@link loadQuantizedInThreads} is. */
export interface ThreadedLoadProgress extends LoadProgress {
  /** Resident size of the process in bytes. */
  readonly residentBytes: number;
}

/** Options of {@link loadQuantizedInThreads}. */
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
 * Load a checkpoint into few bits in threads. Check it first: nothing is checked here.
 *
 * @param path The checkpoint; each thread opens it.
 * @param mapped What to load and what it is made of, such as `mapped` of a plan.
 * @param target Into how many bits, and which matrices.
 * @param options Threads and progress. What `onProgress` throws ends the loading.
 * @returns The weights, as {@link loadQuantized} gives them.
 * @throws {CheckpointError} When the checkpoint is damaged or a number is not finite. All threads have
 *   ended then.
 */
export async function loadQuantizedInThreads(
  path: string,
  mapped: readonly MappedTensor[],
  target: QuantizedTarget,
  { threads = 2, onProgress = () => {} }: ThreadedLoadOptions = {},
): Promise<QuantizedWeights> {
  const total = mapped.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const shares = deal(mapped, threads);
  const done = shares.map(() => 0);
  const workers: Worker[] = [];
  try {
    const parts = await Promise.all(shares.map((share, i) => {
      const url = new URL("./load_quantized_worker.ts", import.meta.url);
      workers.push(new Worker(url, { type: "module" }));
      return loadShare(workers[i], { path, mapped: share, target }, (reply) => {
        done[i] = reply.done;
        const { name, residentBytes } = reply;
        onProgress({ done: done.reduce((a, b) => a + b, 0), total, name, residentBytes });
      });
    }));
    const matrices = new Map<string, QuantizedTensor>();
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
