/**
 * A compute kernel: WGSL text and the names of what it is bound to.
 *
 * Sizes are written into the text: an engine's shapes never change, a driver unrolls loops whose length
 * it knows, and two layers of one shape share a pipeline. Binding numbers follow from the order of the
 * list, so that no kernel spells one out.
 *
 * @module
 */

/** One thing that a kernel is bound to. */
export interface Binding {
  /** Its name in WGSL. */
  readonly name: string;
  /** How it is bound. */
  readonly access: "uniform" | "read" | "read_write";
  /** Its WGSL type. */
  readonly type: string;
}

/** A kernel whose sizes are known. */
export interface Kernel {
  /** Its name in error messages. */
  readonly label: string;
  /** WGSL text with entry point `main`. */
  readonly code: string;
  /** Names of its bindings, in the order of their numbers. */
  readonly bindings: readonly string[];
}

/** Part of a kernel: what it needs and its text. */
export interface Fragment {
  /** What its text speaks of. */
  readonly bindings: readonly Binding[];
  /** WGSL functions and constants. */
  readonly code: string;
}

/**
 * Put a kernel together.
 *
 * @param label Its name in error messages.
 * @param fragments Its parts; what several of them bring, bindings or text, is there once.
 * @returns The kernel.
 * @throws {TypeError} If two parts name one binding and want different things of it.
 */
export function defineKernel(label: string, fragments: readonly Fragment[]): Kernel {
  const bindings = new Map<string, Binding>();
  for (const binding of fragments.flatMap((f) => f.bindings)) {
    const known = bindings.get(binding.name);
    if (known && (known.access !== binding.access || known.type !== binding.type)) {
      throw new TypeError(
        `Cannot define kernel ${label}: binding ${binding.name} is ${known.access} ${known.type} ` +
          `in one part and ${binding.access} ${binding.type} in another; give one another name`,
      );
    }
    bindings.set(binding.name, binding);
  }
  const declarations = [...bindings.values()].map(({ name, access, type }, i) => {
    const space = access === "uniform" ? "uniform" : `storage, ${access}`;
    return `@group(0) @binding(${i}) var<${space}> ${name}: ${type};`;
  });
  const code = [...declarations, ...new Set(fragments.map((f) => f.code))].join("\n");
  return { label, code, bindings: [...bindings.keys()] };
}

/** A kernel with its buffers, ready to run. */
export interface Dispatch {
  /** What it does, for measurements. */
  readonly label: string;
  /** Compiled kernel. */
  readonly pipeline: GPUComputePipeline;
  /** Its buffers. */
  readonly group: GPUBindGroup;
  /** Workgroups along x and y, for a number of places (tokens of a prefill, keys of a decode step). */
  readonly size: (places: number) => readonly [number, number];
}

/** Compiles kernels, each text once, and binds buffers to them. */
export class KernelCache {
  /** The device that compiles. */
  readonly device: GPUDevice;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();

  /**
   * Start with none.
   * @param device The device that compiles.
   */
  constructor(device: GPUDevice) {
    this.device = device;
  }

  /** Different kernels compiled so far. */
  get size(): number {
    return this.#pipelines.size;
  }

  /**
   * Bind buffers to a kernel, which is compiled if it is new.
   *
   * @param kernel The kernel.
   * @param buffers A buffer for each of its bindings, by name.
   * @param size Workgroups, as in {@link Dispatch}.
   * @returns What can be run any number of times.
   * @throws {TypeError} If a binding has no buffer.
   * @throws {Error} If the driver refuses the kernel or the buffers.
   */
  async bind(
    kernel: Kernel,
    buffers: Readonly<Record<string, GPUBuffer>>,
    size: Dispatch["size"],
  ): Promise<Dispatch> {
    const { label, bindings } = kernel;
    const entries = bindings.map((name, binding): GPUBindGroupEntry => {
      const buffer = buffers[name];
      if (!buffer) throw new TypeError(`Cannot bind kernel ${label}: ${name} has no buffer`);
      return { binding, resource: { buffer } };
    });
    const pipeline = await this.#compile(kernel);
    this.device.pushErrorScope("validation");
    const layout = pipeline.getBindGroupLayout(0);
    const group = this.device.createBindGroup({ label, layout, entries });
    const error = await this.device.popErrorScope();
    if (error) throw new Error(`Cannot bind kernel ${label}: ${error.message}`);
    return { label, pipeline, group, size };
  }

  #compile(kernel: Kernel): Promise<GPUComputePipeline> {
    const known = this.#pipelines.get(kernel.code);
    if (known) return known;
    const compiled = this.#build(kernel);
    this.#pipelines.set(kernel.code, compiled);
    return compiled;
  }

  async #build({ label, code }: Kernel): Promise<GPUComputePipeline> {
    this.device.pushErrorScope("validation");
    const module = this.device.createShaderModule({ label, code });
    const compute = { module, entryPoint: "main" };
    const pipeline = this.device.createComputePipeline({ label, layout: "auto", compute });
    const error = await this.device.popErrorScope();
    if (error) throw new Error(`Cannot compile kernel ${label}: ${error.message}`);
    return pipeline;
  }
}

/**
 * Record kernels one after the other.
 *
 * @param pass Where to.
 * @param dispatches The kernels.
 * @param places What their sizes depend on.
 */
export function record(
  pass: GPUComputePassEncoder,
  dispatches: readonly Dispatch[],
  places: number,
): void {
  for (const { pipeline, group, size } of dispatches) {
    const [x, y] = size(places);
    if (x === 0 || y === 0) continue;
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(x, y);
  }
}
