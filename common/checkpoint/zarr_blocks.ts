/**
 * The blocks of one zarr array. A chunk of plain row-major numbers is decompressed as a stream, so
 * that it may be larger than memory allows; zarrita decodes every other kind (sharded, Blosc,
 * transposed, big-endian) piece by piece.
 *
 * @module
 */

import * as zarr from "zarrita";
import { inflateStream } from "./bounded_inflate.ts";
import { BYTES_PER_NUMBER, widen } from "./dtype.ts";
import { CheckpointError } from "./errors.ts";
import type { KeyValueStore } from "./key_value_store.ts";
import { elementCount } from "./safetensors_header.ts";
import {
  blockElements,
  blocksOfBytes,
  copyBox,
  rowMajorBoxes,
  rowMajorStrides,
} from "./tensor_blocks.ts";
import type { TensorBlock } from "./tensor_source.ts";
import { registerCodecs } from "./zarr_codecs.ts";
import { chunkKey, type ZarrArray } from "./zarr_metadata.ts";

/** A chunk below this is decoded at once: a stream would cost more than it saves. */
const STREAMED_FROM_BYTES = 1 << 20;

/** One array in a store. */
export interface StoredArray {
  /** The store. */
  readonly store: KeyValueStore;
  /** Key of the array, such as `params.PaliGemma.img.head.kernel`. */
  readonly key: string;
  /** What its metadata says. */
  readonly array: ZarrArray;
}

/** What zarrita reads from. */
interface PresentedStore {
  get(path: string): Promise<Uint8Array | undefined>;
  getRange(
    path: string,
    query: { readonly offset: number; readonly length: number } | { readonly suffixLength: number },
  ): Promise<Uint8Array | undefined>;
}

/** Present one array to zarrita as a store of its own, so that its name never becomes a URL. */
function storeOf({ store, key }: StoredArray): PresentedStore {
  const range = async (path: string, from: (size: number) => [offset: number, length: number]) => {
    const full = key + path;
    const size = store.sizes.get(full);
    if (size === undefined) return undefined;
    const [offset, length] = from(size);
    if (!(offset >= 0 && length >= 0 && offset + length <= size)) {
      throw new CheckpointError(
        `Cannot read ${
          store.place(full)
        }: its shard index points to ${length} bytes at ${offset}, ` +
          `but it has ${size}; the checkpoint is damaged.`,
      );
    }
    return await store.read(full, offset, length);
  };
  return {
    get: (path) => range(path, (size) => [0, size]),
    getRange: (path, query) =>
      range(
        path,
        (size) =>
          "suffixLength" in query
            ? [size - query.suffixLength, query.suffixLength]
            : [query.offset, query.length],
      ),
  };
}

/** The bits of a number in a 16-bit format. */
function fillBits(fill: number, dtype: ZarrArray["dtype"]): number {
  if (dtype === "F32") return fill;
  if (dtype === "F16") return new Uint16Array(Float16Array.of(fill).buffer)[0];
  return new Uint32Array(Float32Array.of(fill).buffer)[0] >>> 16;
}

type Presented = zarr.Array<"float32" | "uint16">;

function openInZarrita(stored: StoredArray): Presented {
  registerCodecs();
  const { shape, chunkShape, dtype, codecs, keyEncoding, fill } = stored.array;
  return new zarr.Array<"float32" | "uint16">(storeOf(stored), "/", {
    zarr_format: 3,
    node_type: "array",
    shape: [...shape],
    data_type: dtype === "F32" ? "float32" : "uint16",
    chunk_grid: { name: "regular", configuration: { chunk_shape: [...chunkShape] } },
    chunk_key_encoding: {
      name: keyEncoding.name,
      configuration: { separator: keyEncoding.separator },
    },
    codecs: [...codecs],
    fill_value: fillBits(fill, dtype),
    attributes: {},
  });
}

/** The part of a box that lies inside of the array; chunks at its edge are padded. */
function clip(origin: readonly number[], extent: readonly number[], shape: readonly number[]) {
  return extent.map((size, i) => Math.max(0, Math.min(size, shape[i] - origin[i])));
}

function* grid(shape: readonly number[], step: readonly number[]): Generator<number[]> {
  const counts = shape.map((size, i) => Math.ceil(size / step[i]));
  for (const { origin } of rowMajorBoxes(counts, 1)) yield [...origin];
}

function damaged({ store, key }: StoredArray, chunk: string, cause: unknown): CheckpointError {
  for (let error = cause; error instanceof Error; error = error.cause) {
    if (error instanceof CheckpointError) return error;
  }
  let root = cause;
  while (root instanceof Error && root.cause instanceof Error) root = root.cause;
  const reason = root instanceof Error ? root.message : String(root);
  return new CheckpointError(
    `Cannot read ${store.place(`${key}/${chunk}`)}: the chunk is damaged (${reason}); ` +
      `copy the checkpoint again.`,
    { cause },
  );
}

/** A chunk that the writer left out because it holds nothing but the fill value. */
function* filledBlocks(
  { array }: StoredArray,
  origin: readonly number[],
  maxElements: number,
): Generator<TensorBlock> {
  const shape = clip(origin, array.chunkShape, array.shape);
  for (const box of rowMajorBoxes(shape, maxElements)) {
    yield {
      origin: box.origin.map((index, i) => index + origin[i]),
      shape: box.shape,
      values: new Float32Array(elementCount(box.shape)).fill(array.fill),
    };
  }
}

/** A chunk of plain numbers, as a stream. */
async function* streamedBlocks(
  { store, key, array }: StoredArray,
  chunk: string,
  origin: readonly number[],
  maxBlockBytes: number,
): AsyncGenerator<TensorBlock> {
  const { chunkShape, dtype, streaming, shape } = array;
  const full = `${key}/${chunk}`;
  const bytes = elementCount(chunkShape) * BYTES_PER_NUMBER[dtype];
  const stored = store.stream(full);
  if (streaming === "none" && store.sizes.get(full) !== bytes) {
    throw new RangeError(`it has ${store.sizes.get(full)} bytes where ${bytes} are expected`);
  }
  const pieces = streaming === "none" || streaming === undefined
    ? stored
    : inflateStream(stored, streaming, bytes);
  const truncated = (found: number) =>
    new CheckpointError(
      `Cannot read ${store.place(full)}: the chunk ends after ${found} of ${bytes} bytes; ` +
        `copy the checkpoint again.`,
    );
  for await (
    const block of blocksOfBytes(pieces, { shape: chunkShape, dtype }, maxBlockBytes, truncated)
  ) {
    const at = block.origin.map((index, i) => index + origin[i]);
    const kept = clip(at, block.shape, shape);
    if (kept.every((size, i) => size === block.shape[i])) {
      yield { origin: at, shape: kept, values: block.values };
    } else if (!kept.includes(0)) {
      const values = new Float32Array(elementCount(kept));
      copyBox(
        { values: block.values, first: 0, strides: rowMajorStrides(block.shape) },
        { values, first: 0, strides: rowMajorStrides(kept) },
        kept,
      );
      yield { origin: at, shape: kept, values };
    }
  }
}

/** One piece that zarrita decodes. */
async function decodedBlock(
  { array }: StoredArray,
  presented: Presented,
  position: readonly number[],
): Promise<TensorBlock> {
  const { pieceShape, dtype, shape } = array;
  const { data, stride } = await presented.getChunk([...position]);
  const count = elementCount(pieceShape);
  if (data.length !== count) {
    throw new RangeError(`it becomes ${data.length} numbers where ${count} are expected`);
  }
  let values: Float32Array;
  if (data instanceof Float32Array) values = data;
  else {
    values = new Float32Array(count);
    const { buffer, byteOffset, byteLength } = data as Uint16Array<ArrayBuffer>;
    widen(new Uint8Array(buffer, byteOffset, byteLength), dtype, values);
  }
  const origin = position.map((index, i) => index * pieceShape[i]);
  const kept = clip(origin, pieceShape, shape);
  const packed = rowMajorStrides(kept);
  if (kept.every((size, i) => size === pieceShape[i] && stride[i] === packed[i])) {
    return { origin, shape: kept, values };
  }
  const target = new Float32Array(elementCount(kept));
  copyBox(
    { values, first: 0, strides: stride },
    { values: target, first: 0, strides: packed },
    kept,
  );
  return { origin, shape: kept, values: target };
}

/**
 * Read an array block by block, in the order of its chunks.
 *
 * @param stored The array; every chunk that is in the grid but not in the store reads as its fill
 *   value.
 * @param maxBlockBytes Bound of a block in bytes of float32, as far as the encoding allows it.
 * @throws {CheckpointError} When a chunk is damaged: one sentence with its key and place.
 */
export async function* zarrBlocks(
  stored: StoredArray,
  maxBlockBytes: number,
): AsyncGenerator<TensorBlock> {
  const { array, key, store } = stored;
  const { shape, chunkShape, pieceShape, streaming } = array;
  const chunkFloatBytes = elementCount(chunkShape) * Float32Array.BYTES_PER_ELEMENT;
  const isStreamed = streaming !== undefined &&
    chunkFloatBytes > Math.min(STREAMED_FROM_BYTES, maxBlockBytes);
  const presented = isStreamed ? undefined : openInZarrita(stored);
  const perChunk = chunkShape.map((size, i) => size / pieceShape[i]);
  for (const position of grid(shape, chunkShape)) {
    const chunk = chunkKey(array, position);
    const origin = position.map((index, i) => index * chunkShape[i]);
    if (!store.sizes.has(`${key}/${chunk}`)) {
      yield* filledBlocks(stored, origin, blockElements(maxBlockBytes));
      continue;
    }
    try {
      if (presented === undefined) {
        yield* streamedBlocks(stored, chunk, origin, maxBlockBytes);
        continue;
      }
      for (const inner of grid(clip(origin, chunkShape, shape), pieceShape)) {
        const piece = inner.map((index, i) => index + position[i] * perChunk[i]);
        yield await decodedBlock(stored, presented, piece);
      }
    } catch (error) {
      throw damaged(stored, chunk, error);
    }
  }
}
