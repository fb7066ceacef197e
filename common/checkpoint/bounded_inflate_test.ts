import assert from "node:assert/strict";
import { deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { type Compression, inflateExactly, inflateStream } from "./bounded_inflate.ts";

const COMPRESS = {
  zstd: zstdCompressSync,
  gzip: gzipSync,
  zlib: deflateSync,
  deflate: deflateRawSync,
} as const;
const CONTENT = Uint8Array.from({ length: 3000 }, (_, i) => (i * i) % 251);

async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += 100) {
    await Promise.resolve();
    yield bytes.subarray(start, start + 100);
  }
}

async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: number[] = [];
  for await (const piece of pieces) all.push(...piece);
  return Uint8Array.from(all);
}

for (const compression of Object.keys(COMPRESS) as Compression[]) {
  const packed = new Uint8Array(COMPRESS[compression](CONTENT));

  Deno.test(`inflateExactly() and inflateStream() restore ${compression}`, async () => {
    assert.deepEqual(inflateExactly(packed, compression, CONTENT.length), CONTENT);
    const streamed = inflateStream(inPieces(packed), compression, CONTENT.length);
    assert.deepEqual(await collect(streamed), CONTENT);
  });

  Deno.test(`inflateExactly() and inflateStream() refuse ${compression} of another length`, async () => {
    for (const length of [CONTENT.length - 1, CONTENT.length + 1]) {
      assert.throws(() => inflateExactly(packed, compression, length), Error);
      await assert.rejects(collect(inflateStream(inPieces(packed), compression, length)), Error);
    }
    const cut = packed.subarray(0, packed.length >> 1);
    assert.throws(() => inflateExactly(cut, compression, CONTENT.length), Error);
    await assert.rejects(
      collect(inflateStream(inPieces(cut), compression, CONTENT.length)),
      Error,
    );
  });
}

Deno.test("inflateStream() stops a bomb long before its end", async () => {
  const bomb = new Uint8Array(zstdCompressSync(new Uint8Array(1 << 27)));
  let received = 0;
  await assert.rejects(async () => {
    for await (const piece of inflateStream(inPieces(bomb), "zstd", 1000)) received += piece.length;
  }, /it becomes more than the 1000 bytes that are expected/);
  assert.equal(received, 0);
});

Deno.test("inflateStream() lets go of everything when its reader stops early", async () => {
  const packed = new Uint8Array(zstdCompressSync(new Uint8Array(1 << 23)));
  for await (const piece of inflateStream(inPieces(packed), "zstd", 1 << 23)) {
    assert.ok(piece.length > 0);
    break;
  }
});

Deno.test("inflateStream() passes its source's error on", async () => {
  const failing = async function* () {
    yield await Promise.resolve(new Uint8Array(0));
    throw new TypeError("the disk is gone");
  };
  await assert.rejects(collect(inflateStream(failing(), "zstd", 10)), /the disk is gone/);
});
