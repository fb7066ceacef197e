/**
 * What happens when the GPU is lost: it is opened again and everything uploaded again, a few times;
 * then the policy goes on without a GPU, if it is small enough for that.
 *
 * Whoever drives a robot holds its pose meanwhile. Nothing that was computed since the loss is used:
 * readers of results get a {@link GpuLostError}, whose catcher calls {@link DeviceSupervisor.recover}.
 *
 * @module
 */

import type { Logger } from "../types.ts";
import { GpuLostError, GpuMemoryError, GpuUnavailableError } from "./errors.ts";

/** Where the policy computes after a loss. */
export type RecoveredDevice = "webgpu" | "wasm";

/** What a {@link DeviceSupervisor} works with. */
export interface DeviceSupervisorOptions {
  /** Opens a GPU and makes tfjs compute on it, such as `useGpu()`. */
  readonly openGpu: () => Promise<unknown>;
  /** Makes tfjs compute on WebAssembly. */
  readonly useWasm: () => Promise<unknown>;
  /** Scalars of the policy. */
  readonly parameterCount: number;
  /** Losses within {@link windowMs} after which the GPU is not opened again; 3 unless told. */
  readonly maxRebuilds?: number;
  /** How long a loss counts, in ms; an hour unless told. */
  readonly windowMs?: number;
  /** Milliseconds since any fixed instant. */
  readonly now: () => number;
  /** Takes a line a loss. */
  readonly logger: Logger;
}

/**
 * The largest policy that may go on in WebAssembly. A chunk of 50 steps at 50 Hz has to be ready
 * within the second that the one before takes. WebAssembly multiplies matrices at 30 GFLOP/s here
 * (measured), a token takes 2 FLOP a parameter, and a chunk has about 900 of them, 848 of the prompt
 * and 50 decoded: 30e9 / (2 · 900) ≈ 16 M.
 */
export const MAX_WASM_PARAMETERS = 16e6;

const HOUR_MS = 3_600_000;

/** Brings the device back. */
export class DeviceSupervisor {
  readonly #options: Required<DeviceSupervisorOptions>;
  readonly #users = new Set<(device: RecoveredDevice) => Promise<void>>();
  /** When the losses that still count were. */
  #losses: number[] = [];
  #recovering: Promise<RecoveredDevice> | null = null;
  #device: RecoveredDevice = "webgpu";

  /** Set up; nothing is lost yet. */
  constructor(options: DeviceSupervisorOptions) {
    this.#options = { maxRebuilds: 3, windowMs: HOUR_MS, ...options };
  }

  /** Where the policy computes now. */
  get device(): RecoveredDevice {
    return this.#device;
  }

  /**
   * Have a function called whenever everything must be uploaded again.
   *
   * @param upload Gets where to; one after the other, in the order of registration.
   * @returns Ends it when disposed.
   */
  onRebuilt(upload: (device: RecoveredDevice) => Promise<void>): Disposable {
    this.#users.add(upload);
    return { [Symbol.dispose]: () => void this.#users.delete(upload) };
  }

  /**
   * Bring the device back after a loss. Calls at the same time share one recovery.
   *
   * @param lost The error that told of it.
   * @returns Where the policy computes from now on.
   * @throws {Error} The GPU cannot be had any more, has no room or is lost too often, and the policy is
   *   too large for WebAssembly. What an upload throws passes, unless it is another loss.
   */
  async recover(lost: GpuLostError): Promise<RecoveredDevice> {
    // A late reader may tell of a loss that is over.
    if (this.#device === "wasm") return "wasm";
    this.#recovering ??= this.#recover(lost).finally(() => this.#recovering = null);
    return await this.#recovering;
  }

  async #recover(first: GpuLostError): Promise<RecoveredDevice> {
    const { openGpu, maxRebuilds, windowMs, now, logger } = this.#options;
    let lost = first;
    for (;;) {
      this.#losses = [...this.#losses.filter((at) => now() - at < windowMs), now()];
      if (this.#losses.length > maxRebuilds) {
        const often = `${lost.message}, but it was lost ${times(this.#losses.length)} within ` +
          `${Math.round(windowMs / 60_000)} min`;
        return await this.#goOnWithout(often, lost);
      }
      try {
        await openGpu();
        await this.#upload("webgpu");
      } catch (error) {
        if (error instanceof GpuUnavailableError) {
          return await this.#goOnWithout(`${lost.message}, but ${error.problem}`, error);
        }
        if (error instanceof GpuMemoryError) {
          return await this.#goOnWithout(`${lost.message}; ${error.message}`, error);
        }
        if (!(error instanceof GpuLostError)) throw error;
        lost = error;
        continue;
      }
      logger.warn(
        `${lost.message}: done, rebuild ${this.#losses.length} of at most ${maxRebuilds}`,
      );
      return "webgpu";
    }
  }

  async #goOnWithout(why: string, cause: Error): Promise<RecoveredDevice> {
    const { parameterCount, useWasm, logger } = this.#options;
    if (parameterCount > MAX_WASM_PARAMETERS) {
      throw new Error(
        `${why}; a policy of ${millions(parameterCount)} parameters is too slow on WebAssembly, ` +
          `which takes at most ${millions(MAX_WASM_PARAMETERS)}: mend the GPU or its driver and ` +
          "start again",
        { cause },
      );
    }
    await useWasm();
    this.#device = "wasm";
    await this.#upload("wasm");
    logger.warn(`${why}: the policy goes on in WebAssembly`);
    return "wasm";
  }

  async #upload(device: RecoveredDevice): Promise<void> {
    for (const upload of this.#users) await upload(device);
  }
}

function millions(count: number): string {
  return `${(count / 1e6).toFixed(1)} M`;
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}
