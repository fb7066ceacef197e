/**
 * Owner of an engine's GPU buffers, which counts them: what was made and not freed is a leak.
 *
 * @module
 */

/** Buffers of one owner. */
export class GpuBuffers implements Disposable {
  /** The device that they are on. */
  readonly device: GPUDevice;
  readonly #alive = new Set<GPUBuffer>();
  #created = 0;
  #bytes = 0;

  /**
   * Start with none.
   * @param device The device.
   */
  constructor(device: GPUDevice) {
    this.device = device;
  }

  /** Buffers made so far. */
  get created(): number {
    return this.#created;
  }

  /** Buffers made and not freed. */
  get alive(): number {
    return this.#alive.size;
  }

  /** Bytes of those alive. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Make a buffer of zeros.
   *
   * @param label Its name in error messages.
   * @param bytes Its size, rounded up to a multiple of 16.
   * @param usage GPUBufferUsage flags.
   * @returns The buffer.
   * @throws {RangeError} If the device takes no buffer or binding so large.
   */
  create(label: string, bytes: number, usage: number): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    const { maxBufferSize, maxStorageBufferBindingSize } = this.device.limits;
    const isBound = (usage & GPUBufferUsage.STORAGE) !== 0;
    const limit = isBound ? Math.min(maxBufferSize, maxStorageBufferBindingSize) : maxBufferSize;
    if (size > limit) {
      // Such a binding is not refused everywhere: some drivers read zeros from it.
      throw new RangeError(
        `Cannot make GPU buffer ${label}: it needs ${size} bytes, the device allows ${limit}; ` +
          "use a device with larger limits or fewer places",
      );
    }
    const buffer = this.device.createBuffer({ label, size, usage });
    this.#alive.add(buffer);
    this.#created++;
    this.#bytes += size;
    return buffer;
  }

  /**
   * A storage buffer that the host can write and read.
   * @param label Its name in error messages.
   * @param bytes Its size.
   * @throws {RangeError} As {@link GpuBuffers.create} does.
   */
  storage(label: string, bytes: number): GPUBuffer {
    const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    return this.create(label, bytes, STORAGE | COPY_DST | COPY_SRC);
  }

  /**
   * A uniform buffer with words that kernels may also write.
   * @param label Its name in error messages.
   * @param words Its first contents.
   */
  uniform(label: string, words: readonly number[]): GPUBuffer {
    const { UNIFORM, STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    const buffer = this.create(
      label,
      4 * words.length,
      UNIFORM | STORAGE | COPY_DST | COPY_SRC,
    );
    this.device.queue.writeBuffer(buffer, 0, Uint32Array.from(words));
    return buffer;
  }

  /** Free one buffer now. */
  free(buffer: GPUBuffer): void {
    if (!this.#alive.delete(buffer)) return;
    this.#bytes -= buffer.size;
    buffer.destroy();
  }

  /** Free all. */
  [Symbol.dispose](): void {
    for (const buffer of [...this.#alive]) this.free(buffer);
  }
}
