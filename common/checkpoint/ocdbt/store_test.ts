import assert from "node:assert/strict";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { CheckpointError } from "../errors.ts";
import { TempDir } from "../testing.ts";
import { crc32c } from "./crc32c.ts";
import { openOcdbtStore } from "./store.ts";

const MANIFEST = 0x0cdb3a2a;
const NODE = 0x0cdb20de;
const text = (value: string) => [...new TextEncoder().encode(value)];

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

interface EnvelopeOptions {
  readonly version?: number;
  readonly compression?: number;
  readonly extraLength?: number;
  readonly checksumError?: number;
}

function envelope(
  magic: number,
  body: readonly number[] | Uint8Array,
  options: EnvelopeOptions = {},
) {
  const { version = 0, compression = 0, extraLength = 0, checksumError = 0 } = options;
  const bytes = new Uint8Array(14 + body.length + 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic);
  view.setBigUint64(4, BigInt(bytes.length + extraLength), true);
  bytes.set([version, compression], 12);
  bytes.set(body, 14);
  view.setUint32(bytes.length - 4, crc32c(bytes.subarray(0, -4)) ^ checksumError, true);
  return bytes;
}

/** A table of one data file, whose base path is empty. */
const table = (path: string) => [1, ...varint(text(path).length), 0, ...text(path)];

interface ManifestOptions {
  readonly path?: string;
  readonly offset?: number;
  readonly length?: number;
  readonly height?: number;
  readonly kind?: number;
  readonly fileId?: number;
}

function manifestBody(options: ManifestOptions): number[] {
  const { path = "d/x", offset = 0, length = 0, height = 0, kind = 0, fileId = 0 } = options;
  return [
    ...new Array(16).fill(7), // uuid
    kind,
    ...varint(100),
    ...varint(1000),
    4, // log2 of the version tree's arity
    0, // no compression
    ...table(path),
    1, // one version
    1, // its generation
    height,
    fileId,
    ...varint(offset),
    ...varint(length),
    ...[0, 0, 0], // statistics
    ...new Array(8).fill(0), // commit time
    0, // no version tree nodes
  ];
}

function leafBody(entries: readonly [key: string, value: string][], height = 0): number[] {
  return [
    height,
    0, // no data files
    ...varint(entries.length),
    ...entries.slice(1).map(() => 0), // nothing shared with the key before
    ...entries.flatMap(([key]) => varint(text(key).length)),
    ...entries.flatMap(([key]) => text(key)),
    ...entries.flatMap(([, value]) => varint(text(value).length)),
    ...entries.map(() => 0), // inline
    ...entries.flatMap(([, value]) => text(value)),
  ];
}

/** An interior node with one child for each key. */
function interiorBody(
  height: number,
  children: readonly { key: string; prefixLength?: number; offset: number; length: number }[],
): number[] {
  return [
    height,
    ...table("d/x"),
    children.length,
    ...children.slice(1).map(() => 0),
    ...children.map(({ key }) => key.length),
    ...children.map(({ prefixLength = 0 }) => prefixLength),
    ...children.flatMap(({ key }) => text(key)),
    ...children.map(() => 0),
    ...children.flatMap(({ offset }) => varint(offset)),
    ...children.flatMap(({ length }) => varint(length)),
    ...children.flatMap(() => [0, 0, 0]),
  ];
}

async function write(dir: string, manifest: Uint8Array, data: Uint8Array = new Uint8Array(0)) {
  await Deno.mkdir(join(dir, "d"), { recursive: true });
  await Deno.writeFile(join(dir, "manifest.ocdbt"), manifest);
  await Deno.writeFile(join(dir, "d/x"), data);
}

async function refuses(dir: string, message: RegExp): Promise<void> {
  await assert.rejects(openOcdbtStore(dir), (error) => {
    assert.ok(error instanceof CheckpointError, String(error));
    assert.match(error.message, message);
    return true;
  });
}

Deno.test("openOcdbtStore() reads a leaf, and prefixes that a parent gives", async () => {
  using dir = new TempDir();
  const leaf = envelope(NODE, leafBody([["b", "one"], ["c", "two"]]));
  const root = envelope(
    NODE,
    interiorBody(1, [{ key: "ab", prefixLength: 1, offset: 0, length: leaf.length }]),
  );
  const manifest = manifestBody({ offset: leaf.length, length: root.length, height: 1 });
  await write(dir.path, envelope(MANIFEST, manifest), Uint8Array.from([...leaf, ...root]));
  const store = await openOcdbtStore(dir.path);
  assert.deepEqual([...store.sizes], [["ab", 3], ["ac", 3]]);
  assert.equal(new TextDecoder().decode(await store.read("ac", 1, 2)), "wo");
  await assert.rejects(store.read("b", 0, 1), /it has no key "b"/);
});

Deno.test("openOcdbtStore() says what is wrong with a manifest", async (t) => {
  const good = envelope(MANIFEST, manifestBody({}));
  const cases: readonly [string, Uint8Array, RegExp][] = [
    ["empty", new Uint8Array(0), /the manifest at byte 0 of .*manifest\.ocdbt: it is truncated/],
    ["truncated", good.slice(0, 40), /it claims \d+ bytes, 40 are there/],
    ["magic", envelope(NODE, manifestBody({})), /begins with 0x0cdb20de where 0x0cdb3a2a/],
    ["length", envelope(MANIFEST, manifestBody({}), { extraLength: 1 }), /it claims \d+ bytes/],
    ["checksum", envelope(MANIFEST, manifestBody({}), { checksumError: 1 }), /its checksum is/],
    ["version", envelope(MANIFEST, manifestBody({}), { version: 1 }), /format version is 1/],
    ["compression", envelope(MANIFEST, manifestBody({}), { compression: 2 }), /compression is 2/],
    ["zstd", envelope(MANIFEST, manifestBody({}), { compression: 1 }), /no zstd frame/],
    ["kind", envelope(MANIFEST, manifestBody({ kind: 1 })), /its kind is 1/],
    [
      "file id",
      envelope(MANIFEST, manifestBody({ fileId: 1 })),
      /data file 1, but its table has 1/,
    ],
    ["short body", envelope(MANIFEST, manifestBody({}).slice(0, 30)), /bytes? (is|are) expected/],
    ["long body", envelope(MANIFEST, [...manifestBody({}), 1]), /1 bytes are left over/],
    ["escape", envelope(MANIFEST, manifestBody({ path: "../x" })), /"\.\.\/x" is outside/],
    ["absolute", envelope(MANIFEST, manifestBody({ path: "/etc/x" })), /is outside/],
    [
      "elsewhere",
      envelope(MANIFEST, manifestBody({ path: "d/y", length: 9 })),
      /d\/y: there is no/,
    ],
    [
      "beyond",
      envelope(MANIFEST, manifestBody({ offset: 50, length: 70 })),
      /d\/x: a B\+tree node is at bytes 50 to 120, but the file ends at 0/,
    ],
    ["huge", envelope(MANIFEST, manifestBody({ length: 2 ** 50 })), /claims \d+ bytes, the limit/],
  ];
  for (const [name, manifest, message] of cases) {
    await t.step(name, async () => {
      using dir = new TempDir();
      await write(dir.path, manifest);
      await refuses(dir.path, message);
    });
  }
});

Deno.test("openOcdbtStore() refuses trees that are no trees", async (t) => {
  const leaf = envelope(NODE, leafBody([["a", "1"]]));
  const twice = { key: "a", offset: 0, length: leaf.length };
  const node = (body: number[]) => envelope(NODE, body);
  const cycle = (() => {
    const length = node(interiorBody(1, [{ key: "", offset: 0, length: 99 }])).length;
    return node(interiorBody(1, [{ key: "", offset: 0, length }]));
  })();
  const cases: readonly [string, Uint8Array, Uint8Array, number, RegExp][] = [
    ["cycle", new Uint8Array(0), cycle, 1, /the tree leads to it twice/],
    ["height", new Uint8Array(0), leaf, 3, /its height is 0, but what points to it says 3/],
    [
      "shared child",
      leaf,
      node(interiorBody(1, [twice, { ...twice, key: "b" }])),
      1,
      /the tree leads to it twice/,
    ],
    [
      "order of children",
      leaf,
      node(interiorBody(1, [{ ...twice, key: "b" }, twice])),
      1,
      /its children are not in order|not in order/,
    ],
    [
      "order of keys",
      new Uint8Array(0),
      node(leafBody([["b", "1"], ["a", "2"]])),
      0,
      /its keys are not in order/,
    ],
    ["no entry", new Uint8Array(0), node([0, 0, 0]), 0, /it has no entry/],
    ["many entries", new Uint8Array(0), node([0, 0, 200, 1]), 0, /claims 200 entries, the limit/],
    [
      "bomb",
      new Uint8Array(0),
      envelope(NODE, new Uint8Array(zstdCompressSync(new Uint8Array((1 << 27) + 1))), {
        compression: 1,
      }),
      0,
      /no zstd frame of at most 134217728 bytes/,
    ],
  ];
  for (const [name, before, root, height, message] of cases) {
    await t.step(name, async () => {
      using dir = new TempDir();
      const manifest = manifestBody({ offset: before.length, length: root.length, height });
      const data = Uint8Array.from([...before, ...root]);
      await write(dir.path, envelope(MANIFEST, manifest), data);
      await refuses(dir.path, message);
    });
  }
});
