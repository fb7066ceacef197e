/**
 * Reading and writing safetensors files, one tensor at a time, so that memory is bounded by the
 * largest tensor and not by the file.
 *
 * @module
 */

import type { HostTensor } from "../types.ts";
import { BYTES_PER_NUMBER, narrow, widen, type WritableDtype } from "./dtype.ts";
import { CheckpointError } from "./errors.ts";
import {
  buildHeader,
  elementCount,
  headerLength,
  LENGTH_BYTES,
  parseHeader,
  type SafetensorsHeader,
  type TensorEntry,
} from "./safetensors_header.ts";

/** Numbers converted at a time: 4 MiB of float32. */
const NUMBERS_AT_A_TIME = 1 << 20;

/** A tensor whose values are fetched when its turn to be written comes. */
export interface LazyTensor {
  /** Its name. */
  readonly name: string;
  /** Dimensions. */
  readonly shape: readonly number[];
  /** Fetch the row-major values; as many as the shape says. */
  load(): Promise<Float32Array>;
}

/** Options of {@link writeSafetensors}. */
export interface WriteOptions {
  /** Format of the stored numbers; F32 by default. */
  readonly dtype?: WritableDtype;
  /** Free text to store in the header. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Turn whatever the file system throws into one sentence. */
function fileError(error: unknown, path: string): unknown {
  if (error instanceof Deno.errors.NotFound) {
    return new CheckpointError(`Cannot read ${path}: there is no such file.`, { cause: error });
  }
  if (error instanceof CheckpointError || !(error instanceof Error)) return error;
  return new CheckpointError(`Cannot read ${path}: ${error.message}.`, { cause: error });
}

async function readFully(file: Deno.FsFile, target: Uint8Array, path: string): Promise<void> {
  let filled = 0;
  while (filled < target.length) {
    const count = await file.read(target.subarray(filled));
    if (count === null) {
      throw new CheckpointError(
        `Cannot read ${path}: it became shorter while it was read, ${target.length} bytes expected ` +
          `and ${filled} found.`,
      );
    }
    filled += count;
  }
}

async function writeFully(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) written += await file.write(bytes.subarray(written));
}

/** An open safetensors file whose header has been checked. Close it with `using`. */
export class SafetensorsFile implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  /** What the header says. */
  readonly header: SafetensorsHeader;

  /**
   * Use {@link openSafetensors}.
   *
   * @param file The open file, owned from now on.
   * @param path Its name, for errors.
   * @param header Its checked header.
   */
  constructor(file: Deno.FsFile, path: string, header: SafetensorsHeader) {
    this.#file = file;
    this.#path = path;
    this.header = header;
  }

  /**
   * Read one tensor. Calls must not overlap: they share the file's position.
   *
   * @param entry One of the header's entries.
   * @returns The tensor, widened to float32.
   * @throws {CheckpointError} When the file cannot be read any more.
   */
  async read(entry: TensorEntry): Promise<HostTensor> {
    const { name, dtype, shape, start } = entry;
    const data = new Float32Array(elementCount(shape));
    try {
      await this.#file.seek(start, Deno.SeekMode.Start);
      if (dtype === "F32") {
        await readFully(this.#file, new Uint8Array(data.buffer), this.#path);
        return { name, shape, data };
      }
      const stepBytes = Math.min(data.length, NUMBERS_AT_A_TIME) * BYTES_PER_NUMBER[dtype];
      const stepBuffer = new Uint8Array(stepBytes);
      for (let first = 0; first < data.length; first += NUMBERS_AT_A_TIME) {
        const target = data.subarray(first, first + NUMBERS_AT_A_TIME);
        const bytes = stepBuffer.subarray(0, target.length * BYTES_PER_NUMBER[dtype]);
        await readFully(this.#file, bytes, this.#path);
        widen(bytes, dtype, target);
      }
    } catch (error) {
      throw fileError(error, this.#path);
    }
    return { name, shape, data };
  }

  /** Close the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Options of {@link openSafetensors}. */
export interface OpenOptions {
  /** Whether tensors of number formats that are not read are listed apart; by default an error. */
  readonly allowsUnreadable?: boolean;
}

/**
 * Open a safetensors file and check its header against its size.
 *
 * @param path The file.
 * @param options What is allowed.
 * @returns The open file, to be closed with `using`.
 * @throws {CheckpointError} When it is missing, truncated or not a safetensors file.
 */
export async function openSafetensors(
  path: string,
  { allowsUnreadable = false }: OpenOptions = {},
): Promise<SafetensorsFile> {
  let file: Deno.FsFile | undefined;
  try {
    file = await Deno.open(path, { read: true });
    const { size, isFile } = await file.stat();
    if (!isFile) throw new CheckpointError(`Cannot read ${path}: it is not a file.`);
    const prefix = new Uint8Array(Math.min(LENGTH_BYTES, size));
    await readFully(file, prefix, path);
    const json = new Uint8Array(headerLength(prefix, size, path));
    await readFully(file, json, path);
    return new SafetensorsFile(file, path, parseHeader(json, size, path, allowsUnreadable));
  } catch (error) {
    file?.close();
    throw fileError(error, path);
  }
}

/**
 * Read every tensor of a safetensors file.
 *
 * @param path The file.
 * @returns The tensors by their place in the file, widened to float32.
 * @throws {CheckpointError} When it is missing, truncated or not a safetensors file.
 */
export async function readSafetensors(path: string): Promise<HostTensor[]> {
  using file = await openSafetensors(path);
  const tensors: HostTensor[] = [];
  for (const entry of file.header.entries) tensors.push(await file.read(entry));
  return tensors;
}

/**
 * Write tensors to a new file and make sure that it has reached the disk.
 *
 * @param path The file, which must not exist.
 * @param tensors Tensors, in memory or fetched one by one.
 * @param options Number format and free text.
 * @returns Size of the file in bytes.
 * @throws {RangeError} When a name appears twice, values do not match their shape, or a value does
 *   not fit the format.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly (HostTensor | LazyTensor)[],
  { dtype = "F32", metadata = {} }: WriteOptions = {},
): Promise<number> {
  const header = buildHeader(tensors.map(({ name, shape }) => ({ name, shape, dtype })), metadata);
  let size = header.length;
  using file = await Deno.open(path, { write: true, createNew: true });
  await writeFully(file, header);
  for (const tensor of tensors) {
    const data = "load" in tensor ? await tensor.load() : tensor.data;
    if (data.length !== elementCount(tensor.shape)) {
      throw new RangeError(
        `Cannot store tensor ${tensor.name}: it has ${data.length} values, but shape ` +
          `[${tensor.shape.join(", ")}] takes ${elementCount(tensor.shape)}`,
      );
    }
    for (let first = 0; first < data.length; first += NUMBERS_AT_A_TIME) {
      const bytes = narrow(data.subarray(first, first + NUMBERS_AT_A_TIME), dtype);
      await writeFully(file, bytes);
      size += bytes.length;
    }
  }
  await file.sync();
  return size;
}
