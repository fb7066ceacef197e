/**
 * The thread of `stop_probe.ts`.
 *
 * @module
 */

import { sharedNowMs } from "../../controller/threads/clock.ts";
import type { ProbeAction, ProbeReply, ProbeRequest } from "./stop_probe.ts";

/** The part of a dedicated worker's global scope that this module uses. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ProbeRequest>) => void) | null;
  postMessage(reply: ProbeReply): void;
}

const scope = self as unknown as WorkerScope;

scope.onmessage = async ({ data }) => {
  try {
    scope.postMessage({ kind: "done", ...await probe(data) });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    scope.postMessage({ kind: "failed", message });
  }
};

async function probe({ action, beforeMs, afterMs, positions }: ProbeRequest) {
  const times: number[] = [], ticks: number[] = [];
  const sampleUntil = async (endMs: number) => {
    while (sharedNowMs() < endMs) {
      times.push(sharedNowMs());
      for (const bus of positions) {
        for (let i = 0; i < bus.length; i++) ticks.push(Atomics.load(bus, i));
      }
      // A timer, not a blocking wait: a request that is on its way needs the event loop.
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  await sampleUntil(sharedNowMs() + beforeMs);
  const actedMs = sharedNowMs();
  const acted = act(action);
  await Promise.all([acted, sampleUntil(actedMs + afterMs)]);
  const samples = { timesMs: Float64Array.from(times), ticks: Int32Array.from(ticks) };
  return { actedMs, samples };
}

async function act(action: ProbeAction): Promise<void> {
  if (action.kind === "kill") return Deno.kill(action.pid, "SIGKILL");
  const response = await fetch(action.url, { method: "POST" });
  const text = await response.text();
  if (!response.ok) throw new Error(`${action.url} answered ${response.status}: ${text}`);
}
