/**
 * A thread that loads some tensors of a checkpoint into few bits and hands them over.
 *
 * @module
 */

import { openTensorSource } from "../checkpoint/open_source.ts";
import { loadQuantized } from "./load_quantized.ts";
import type { LoadReply, LoadRequest } from "./load_quantized_messages.ts";

/** The part of a dedicated worker's global scope that this module uses. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<LoadRequest>) => void) | null;
  postMessage(reply: LoadReply, transfer?: Transferable[]): void;
}

const scope = self as unknown as WorkerScope;

async function load({ path, mapped, target }: LoadRequest): Promise<void> {
  using source = await openTensorSource(path);
  const { matrices, floats } = await loadQuantized(source, mapped, target, ({ done, name }) => {
    const residentBytes = Deno.memoryUsage().rss;
    scope.postMessage({ kind: "progress", done, name, residentBytes });
  });
  const buffers = [
    ...[...matrices.values()].flatMap(({ values, scales }) => [values.buffer, scales.buffer]),
    ...[...floats.values()].map(({ data }) => data.buffer),
  ] as ArrayBuffer[];
  scope.postMessage(
    { kind: "loaded", matrices: [...matrices.values()], floats: [...floats.values()] },
    buffers,
  );
}

scope.onmessage = async (event) => {
  try {
    await load(event.data);
  } catch (error) {
    const sentence = error instanceof Error ? error.message : String(error);
    scope.postMessage({ kind: "failed", sentence });
  }
};
