/**
 * What the tests of GPU code share: why there is no GPU to test on, and adapters that are made up.
 * @module
 */

import { type GpuDevice, openGpuDevice } from "./gpu_device.ts";

/** Why WebGPU cannot be tested here; undefined if it can, be it on a software renderer. */
export async function whyNoWebgpu(): Promise<string | undefined> {
  if (!navigator.gpu) return "this Deno has no navigator.gpu";
  if (await navigator.gpu.requestAdapter()) return undefined;
  return "there is no WebGPU adapter; Debian's mesa-vulkan-drivers gives a software one";
}

/** Open whatever adapter there is. */
export function openAny(): Promise<GpuDevice> {
  return openGpuDevice({ allowSoftware: true });
}

/** How a {@link FakeGpu} is. */
export interface FakeGpuOptions {
  /** The adapter's name; a GPU's unless told. */
  readonly description?: string;
  /** Features that the adapter lists; all that the project wants unless told. */
  readonly listed?: readonly string[];
  /** Features that it grants besides, as Deno does subgroups; none unless told. */
  readonly granted?: readonly string[];
  /** Messages with which it refuses requests for a device, in order; none unless told. */
  readonly refusals?: readonly string[];
  /** Bytes of memory; endless unless told. */
  readonly memoryBytes?: number;
}

/** The largest buffer and binding of a {@link FakeGpu}. */
export const FAKE_LIMITS = { maxBufferSize: 2 ** 30, maxStorageBufferBindingSize: 2 ** 27 };

/**
 * As much of WebGPU as opening a device and allocating buffers needs, without any hardware: for what
 * no adapter at hand does, such as running out of memory.
 */
export class FakeGpu {
  /** Devices given so far. */
  readonly devices: FakeDevice[] = [];
  /** Requests for a device so far. */
  readonly requests: GPUDeviceDescriptor[] = [];
  readonly #options: FakeGpuOptions;

  /** Begin with no devices. */
  constructor(options: FakeGpuOptions = {}) {
    this.#options = options;
  }

  /** Always the same adapter. */
  requestAdapter(): Promise<GPUAdapter> {
    const { description = "Some GPU 4000", listed = ["shader-f16", "timestamp-query"] } =
      this.#options;
    const adapter = {
      info: {
        description,
        vendor: "4318",
        device: "1",
        architecture: "",
        isFallbackAdapter: false,
      },
      features: new Set(listed),
      limits: { ...FAKE_LIMITS, minStorageBufferOffsetAlignment: 32 },
      requestDevice: (descriptor: GPUDeviceDescriptor) => this.#device(listed, descriptor),
    };
    return Promise.resolve(adapter as unknown as GPUAdapter);
  }

  #device(listed: readonly string[], descriptor: GPUDeviceDescriptor): Promise<GPUDevice> {
    const { granted = [], refusals = [], memoryBytes = Infinity } = this.#options;
    const refusal = refusals[this.requests.length];
    this.requests.push(descriptor);
    const wanted = [...descriptor.requiredFeatures ?? []];
    if (wanted.some((feature) => ![...listed, ...granted].includes(feature))) {
      return Promise.reject(new TypeError("requiredFeatures must be a subset"));
    }
    if (refusal) return Promise.reject(new DOMException(refusal, "OperationError"));
    const device = new FakeDevice(wanted, memoryBytes);
    this.devices.push(device);
    return Promise.resolve(device as unknown as GPUDevice);
  }
}

/** A device of a {@link FakeGpu}: it only counts bytes. */
export class FakeDevice extends EventTarget {
  /** What it grants. */
  readonly features: ReadonlySet<string>;
  /** How much it takes at once. */
  readonly limits = { ...FAKE_LIMITS, minStorageBufferOffsetAlignment: 32 };
  /** Settles when the device is gone. */
  readonly lost: Promise<{ reason: string; message: string }>;
  /** Bytes of the buffers that were not destroyed. */
  bytes = 0;
  readonly #memoryBytes: number;
  readonly #scopes: { filter: string; error: Error | null }[] = [];
  #lose!: (info: { reason: string; message: string }) => void;

  /** An empty device. */
  constructor(features: readonly string[], memoryBytes: number) {
    super();
    this.features = new Set(features);
    this.#memoryBytes = memoryBytes;
    this.lost = new Promise((resolve) => this.#lose = resolve);
  }

  /** Lose the device. */
  lose(message: string): void {
    this.#lose({ reason: "unknown", message });
  }

  /** As WebGPU's. */
  destroy(): void {
    this.lose("device was lost");
  }

  /** As WebGPU's. */
  pushErrorScope(filter: string): void {
    this.#scopes.push({ filter, error: null });
  }

  /** As WebGPU's. */
  popErrorScope(): Promise<Error | null> {
    return Promise.resolve(this.#scopes.pop()!.error);
  }

  /** Count the bytes; too many are an error for the innermost scope that takes it. */
  createBuffer({ size }: { readonly size: number }): { destroy(): void } {
    if (this.bytes + size > this.#memoryBytes) {
      const scope = this.#scopes.findLast(({ filter }) => filter === "out-of-memory");
      if (scope) scope.error ??= new Error("not enough memory left");
      return { destroy: () => {} };
    }
    this.bytes += size;
    return { destroy: () => void (this.bytes -= size) };
  }
}
