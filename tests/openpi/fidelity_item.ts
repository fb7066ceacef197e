/**
 * One line of the table of fidelity: something that both openpi and Tendon compute, and how far
 * apart they may be. Tests assert it, `deno task fidelity` prints it.
 *
 * @module
 */

import { useDevice } from "../../common/policy/backend.ts";

/** Backends that the network is measured on. */
export const BACKENDS = ["cpu", "wasm", "webgpu"] as const;

/** One of {@link BACKENDS}. */
export type Backend = (typeof BACKENDS)[number];

/** What is compared. */
export interface FidelityItem {
  /** What, for people. */
  readonly name: string;
  /** Whose code is the reference, as a path of its repository. */
  readonly reference: string;
  /** What the number is, such as `max abs` or `mismatches`. */
  readonly unit: string;
  /** Greatest difference allowed. */
  readonly tolerance: number;
  /** The same on WebGPU, where that differs. */
  readonly webgpuTolerance?: number;
  /** Whether tensors are involved; the rest is plain TypeScript and measured once. */
  readonly usesTensors: boolean;
  /** Compute the difference on the current backend. */
  readonly measure: () => number | Promise<number>;
}

/** Greatest difference that an item allows on a backend. */
export function toleranceOn(item: FidelityItem, backend: Backend): number {
  return backend === "webgpu" ? item.webgpuTolerance ?? item.tolerance : item.tolerance;
}

/** Why WebGPU cannot be measured here; undefined if it can. */
export async function whyNoWebgpu(): Promise<string | undefined> {
  if (!navigator.gpu) return "this Deno has no navigator.gpu";
  if (await navigator.gpu.requestAdapter()) return undefined;
  return "there is no WebGPU adapter; Debian's mesa-vulkan-drivers gives a software one";
}

/** Register the tests of a list of items: plain ones once, those with tensors on every backend. */
export async function testItems(items: readonly FidelityItem[]): Promise<void> {
  const reason = await whyNoWebgpu();
  // Said here: a test that is skipped prints nothing of its own.
  if (reason) console.log(`Parity with openpi on webgpu is skipped: ${reason}.`);
  for (const item of items) {
    for (const backend of item.usesTensors ? BACKENDS : [undefined]) {
      const isGpu = backend === "webgpu";
      Deno.test(`${item.name} equals openpi's${backend ? ` on ${backend}` : ""}`, {
        ignore: isGpu && reason !== undefined,
        // tfjs keeps its GPU device and buffer pool for the life of the process.
        sanitizeOps: !isGpu,
        sanitizeResources: !isGpu,
      }, async () => {
        if (backend) await useDevice(backend);
        const found = await item.measure();
        const allowed = toleranceOn(item, backend ?? "cpu");
        if (!(found <= allowed)) {
          throw new RangeError(
            `${item.name}: ${found} ${item.unit}, at most ${allowed} is allowed`,
          );
        }
      });
    }
  }
}
