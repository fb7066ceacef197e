/**
 * The one place where a GPUDevice is made: which adapter, with which features and limits, and what
 * becomes of errors that WebGPU reports to nobody in particular.
 *
 * Deno cannot list adapters: the environment's `DENO_WEBGPU_BACKEND` and, on Linux,
 * `VK_DRIVER_FILES` decide which one is found. A command that breaks a rule, such as binding more
 * bytes than one binding may have, does not throw: it is skipped, and whoever reads its output sees
 * zeros. {@link GpuDevice.check} makes an error of that.
 *
 * @module
 */

import { describeAdapter, type GpuInfo } from "./adapter_info.ts";
import { GpuLostError, GpuMemoryError, GpuUnavailableError } from "./errors.ts";

/** What a device may be asked beyond WebGPU's core. */
export interface GpuFeatures {
  /** 16-bit floats in shaders (`enable f16;`). */
  readonly hasF16: boolean;
  /** Subgroup operations. Deno's WGSL wants no `enable subgroups;`. */
  readonly hasSubgroups: boolean;
  /** Timestamps around compute passes. */
  readonly hasTimestamps: boolean;
}

/** How much a device takes at once, in bytes, rounded down to a multiple of {@link ROUND_BYTES}. */
export interface GpuLimits {
  /** Most bytes of one storage binding. */
  readonly maxBindingBytes: number;
  /** Most bytes of one buffer. */
  readonly maxBufferBytes: number;
  /** Where in a buffer a storage binding may begin: multiples of this. */
  readonly bindingAlignment: number;
}

/** Sizes are usable up to a multiple of this: the strictest offset alignment that WebGPU allows. */
const ROUND_BYTES = 256;

/** A device with what is known of it. Owner of the device: disposing destroys it with its buffers. */
export class GpuDevice implements Disposable {
  /** The device itself. */
  readonly device: GPUDevice;
  /** As the driver describes its adapter; tfjs wants it. */
  readonly adapterInfo: GPUAdapterInfo;
  /** What the adapter is. */
  readonly info: GpuInfo;
  /** What it may be asked. */
  readonly features: GpuFeatures;
  /** How much it takes at once. */
  readonly limits: GpuLimits;
  /** Settles with the reason when the device goes, be it by {@link Symbol.dispose}. Never rejects. */
  readonly lost: Promise<string>;
  #lostReason: string | null = null;
  #firstError: GPUError | null = null;
  #errors = 0;
  readonly #onError = (event: unknown) => {
    this.#errors++;
    this.#firstError ??= (event as GPUUncapturedErrorEvent).error;
  };

  /** Take over a device. See {@link openGpuDevice}. */
  constructor(device: GPUDevice, adapterInfo: GPUAdapterInfo) {
    this.device = device;
    this.adapterInfo = adapterInfo;
    this.info = describeAdapter(adapterInfo);
    this.features = {
      hasF16: device.features.has("shader-f16"),
      hasSubgroups: device.features.has("subgroups"),
      hasTimestamps: device.features.has("timestamp-query"),
    };
    const rounded = (bytes: number) => Math.floor(bytes / ROUND_BYTES) * ROUND_BYTES;
    this.limits = {
      maxBindingBytes: rounded(device.limits.maxStorageBufferBindingSize),
      maxBufferBytes: rounded(device.limits.maxBufferSize),
      bindingAlignment: device.limits.minStorageBufferOffsetAlignment,
    };
    device.addEventListener("uncapturederror", this.#onError);
    // Asked for once: Deno answers a second reader of `lost` at once.
    this.lost = device.lost.then(({ message, reason }) => {
      this.#lostReason ??= message || reason || "no reason given";
      return this.#lostReason;
    });
  }

  /** The device has gone. Known a turn of the event loop after it happened. */
  get isLost(): boolean {
    return this.#lostReason !== null;
  }

  /**
   * Speak of what has gone wrong since the last call. Errors arrive about 1 ms after the command that
   * caused them, so a look after a readback, which takes 11 ms, sees those of everything before it.
   *
   * @throws {GpuLostError} The device has gone.
   * @throws {GpuMemoryError} The device had no room.
   * @throws {Error} The device refused commands; the sentence has the first refusal.
   */
  check(): void {
    if (this.#lostReason !== null) throw new GpuLostError(this.info.name, this.#lostReason);
    if (this.#firstError === null) return;
    const [count, first] = [this.#errors, this.#firstError];
    this.#errors = 0;
    this.#firstError = null;
    // What follows uses buffers that were not made.
    if (first instanceof GPUOutOfMemoryError) {
      throw new GpuMemoryError(
        `The GPU ${this.info.name} has no room left (${first.message}): close other programs that ` +
          "use it, or use a smaller policy or fewer bits a weight",
        { cause: first },
      );
    }
    throw new Error(
      `The GPU ${this.info.name} refused ${count} command${count === 1 ? "" : "s"}, so what was ` +
        `computed since the last check is void; the first: ${first.message}`,
    );
  }

  /** Destroy the device and its buffers. */
  [Symbol.dispose](): void {
    this.#lostReason ??= "it was closed";
    this.device.removeEventListener("uncapturederror", this.#onError);
    this.device.destroy();
  }
}

/** Features that a caller may insist on. */
export type GpuFeatureName = "f16" | "subgroups" | "timestamps";

/** WebGPU's names of them. */
const FEATURE_NAMES: Readonly<Record<GpuFeatureName, GPUFeatureName>> = {
  f16: "shader-f16",
  subgroups: "subgroups",
  timestamps: "timestamp-query",
};

/** What {@link openGpuDevice} is asked for. */
export interface OpenGpuOptions {
  /** A software renderer will do. It is refused unless somebody asked for it. */
  readonly allowSoftware: boolean;
  /** Features without which the caller cannot go on; none if absent. */
  readonly required?: readonly GpuFeatureName[];
  /** Where adapters come from; `navigator.gpu` if absent. */
  readonly gpu?: Pick<GPU, "requestAdapter">;
}

/** Limits that compute shaders live by. Each is asked for at the adapter's best. */
const LIMIT_NAMES = [
  "maxBindGroups",
  "maxBindingsPerBindGroup",
  "maxBufferSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupStorageSize",
  "maxComputeWorkgroupsPerDimension",
  "maxDynamicStorageBuffersPerPipelineLayout",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxUniformBufferBindingSize",
  "minStorageBufferOffsetAlignment",
  "minUniformBufferOffsetAlignment",
] as const;

const INSTALL = "install a Vulkan driver (Debian: mesa-vulkan-drivers) or use --device wasm";

/**
 * Open the best GPU that there is, with every feature of {@link GpuFeatures} that it has.
 *
 * @returns The device; the caller disposes of it.
 * @throws {GpuUnavailableError} There is no WebGPU, no adapter, only a software renderer, a required
 *   feature is missing, or the driver gave no device.
 */
export async function openGpuDevice(options: OpenGpuOptions): Promise<GpuDevice> {
  const { allowSoftware, required = [] } = options;
  const gpu = options.gpu ?? navigator.gpu;
  if (!gpu) {
    throw new GpuUnavailableError(
      "no-webgpu",
      "this Deno has no WebGPU",
      "use Deno 2.9 or newer, or --device wasm",
    );
  }
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new GpuUnavailableError("no-adapter", "no WebGPU adapter was found", INSTALL);
  }
  const { name, isSoftware } = describeAdapter(adapter.info);
  if (isSoftware && !allowSoftware) {
    throw new GpuUnavailableError(
      "software",
      `the only WebGPU adapter found is the software renderer ${name}`,
      "install the GPU's own Vulkan driver, choose it with VK_DRIVER_FILES, or ask for the software " +
        "renderer with --device webgpu",
    );
  }
  const device = await requestDevice(adapter, name);
  const missing = required.filter((feature) => !device.features.has(FEATURE_NAMES[feature]));
  if (missing.length > 0) {
    device.destroy();
    const names = missing.map((feature) => FEATURE_NAMES[feature]).join(", ");
    throw new GpuUnavailableError(
      "missing-feature",
      `${name} lacks ${names}`,
      "update its driver or use --device wasm",
    );
  }
  return new GpuDevice(device, adapter.info);
}

async function requestDevice(adapter: GPUAdapter, name: string): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const limit of LIMIT_NAMES) {
    if (adapter.limits[limit] !== undefined) requiredLimits[limit] = adapter.limits[limit];
  }
  const { f16, subgroups, timestamps } = FEATURE_NAMES;
  const requiredFeatures = [f16, timestamps].filter((feature) => adapter.features.has(feature));
  try {
    // Deno does not list subgroups, and grants them all the same where the driver has them.
    return await adapter.requestDevice({
      requiredLimits,
      requiredFeatures: [...requiredFeatures, subgroups],
    });
  } catch {
    // Without them, then. What else is wrong shows in the next attempt.
  }
  try {
    return await adapter.requestDevice({ requiredLimits, requiredFeatures });
  } catch (cause) {
    throw new GpuUnavailableError(
      "request-failed",
      `${name} gave no device (${cause instanceof Error ? cause.message : cause})`,
      "close other programs that use it, update its driver, or use --device wasm",
      { cause },
    );
  }
}
