import assert from "node:assert/strict";
import { join } from "node:path";
import { crc32, deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { CheckpointError } from "./errors.ts";
import { parseNpyHeader } from "./npz_header.ts";
import { openNpz } from "./npz_source.ts";
import { TempDir } from "./testing.ts";

/** A `.npy` file of version 1.0. */
function npy(header: string, data: Uint8Array = new Uint8Array(0), version = 1): Uint8Array {
  const prefix = version === 1 ? 10 : 12;
  const bytes = new Uint8Array(prefix + header.length + data.length);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  const view = new DataView(bytes.buffer);
  if (version === 1) view.setUint16(8, header.length, true);
  else view.setUint32(8, header.length, true);
  bytes.set(new TextEncoder().encode(header), prefix);
  bytes.set(data, prefix + header.length);
  return bytes;
}

const dict = (shape: string, descr = "<f4", order = "False") =>
  `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }\n`;

interface ZipOptions {
  readonly name?: string;
  readonly method?: number;
  /** What the directory claims, where it lies. */
  readonly claimedBytes?: number;
  readonly flags?: number;
  readonly crc?: number;
  readonly copies?: number;
}

/** A ZIP archive of one file (PKWARE's APPNOTE, 4.3). */
function zip(content: Uint8Array, options: ZipOptions = {}): Uint8Array {
  const { name = "w.npy", method = 0, flags = 0, copies = 1 } = options;
  const { claimedBytes = content.length, crc = crc32(content) } = options;
  const data = method === 8 ? new Uint8Array(deflateRawSync(content)) : content;
  const fields = (view: DataView, at: number) => {
    view.setUint16(at, flags, true);
    view.setUint16(at + 2, method, true);
    view.setUint32(at + 8, crc, true);
    view.setUint32(at + 12, data.length, true);
    view.setUint32(at + 16, claimedBytes, true);
    view.setUint16(at + 20, name.length, true);
  };
  const local = new Uint8Array(30 + name.length);
  const localView = new DataView(local.buffer);
  localView.setUint32(0, 0x04034b50, true);
  fields(localView, 6);
  local.set(new TextEncoder().encode(name), 30);
  const central = new Uint8Array(46 + name.length);
  const centralView = new DataView(central.buffer);
  centralView.setUint32(0, 0x02014b50, true);
  fields(centralView, 8);
  central.set(new TextEncoder().encode(name), 46);
  const end = new Uint8Array(22);
  const endView = new DataView(end.buffer);
  endView.setUint32(0, 0x06054b50, true);
  endView.setUint16(8, copies, true);
  endView.setUint16(10, copies, true);
  endView.setUint32(12, central.length * copies, true);
  endView.setUint32(16, local.length + data.length, true);
  const parts = [local, data, ...new Array<Uint8Array>(copies).fill(central), end];
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

async function readW(bytes: Uint8Array, dir: string): Promise<number[]> {
  const path = join(dir, "w.npz");
  await Deno.writeFile(path, bytes);
  using source = await openNpz(path);
  return [...(await source.read("w")).data];
}

const VALUES = new Uint8Array(Float32Array.of(1, 2, 3).buffer);

Deno.test("openNpz() reads all versions of the .npy header, stored and deflated", async () => {
  using dir = new TempDir();
  for (const version of [1, 2, 3]) {
    for (const method of [0, 8]) {
      const bytes = zip(npy(dict("(3,)"), VALUES, version), { method });
      assert.deepEqual(await readW(bytes, dir.path), [1, 2, 3]);
    }
  }
});

Deno.test("openNpz() says what is wrong with an archive", async (t) => {
  const good = npy(dict("(3,)"), VALUES);
  const zeros = new Uint8Array(1 << 26);
  const cases: readonly [string, Uint8Array, RegExp][] = [
    ["no archive", new Uint8Array(100), /w\.npz: it is no ZIP archive or is damaged/],
    ["empty", new Uint8Array(0), /w\.npz: it is no ZIP archive or is damaged/],
    ["truncated", zip(good).slice(0, -30), /w\.npz: it is no ZIP archive or is damaged/],
    ["encrypted", zip(good, { flags: 1 }), /the entry at byte 0 is encrypted/],
    ["method", zip(good, { method: 12 }), /compression method 12, only 0 \(stored\) and 8/],
    ["name", zip(good, { name: "w.txt" }), /"w\.txt" .* it is no \.npy file/],
    ["twice", zip(good, { copies: 2 }), /there are two entries of this name/],
    ["checksum", zip(good, { crc: 1 }), /its checksum is \d+, but 1 is stored/],
    [
      "stored size",
      zip(good, { claimedBytes: 9 }),
      /it claims to become 9 bytes, but the \d+ bytes/,
    ],
    [
      "impossible size",
      zip(good, { method: 8, claimedBytes: 2 ** 31 }),
      /it claims to become 2147483648 bytes, but the \d+ bytes at byte 0 become \d+ at most/,
    ],
    [
      "bomb that says so",
      zip(npy(dict("(3,)"), zeros), { method: 8 }),
      /unpacks to 671\d+ bytes, but shape \[3\] of F32 takes \d+; it is damaged or a decompression/,
    ],
    [
      "bomb that lies",
      zip(npy(dict("(3,)"), zeros), { method: 8, claimedBytes: good.length }),
      /it becomes more than the \d+ bytes that are expected/,
    ],
    ["short", zip(npy(dict("(4,)"), VALUES)), /unpacks to \d+ bytes, but shape \[4\]/],
    ["no npy", zip(new Uint8Array(50)), /it does not begin as an \.npy file does/],
    ["tiny", zip(new Uint8Array(5)), /it ends after 5 bytes, inside of its \.npy header/],
    ["version", zip(npy(dict("(3,)"), VALUES, 4)), /its \.npy version is 4\.0/],
    ["long header", zip(npy(" ".repeat(1 << 17), VALUES, 2)), /header claims 131072 bytes/],
    ["only integers", zip(npy(dict("(3,)", "<i4"), VALUES)), /it holds no tensor/],
  ];
  for (const [name, bytes, message] of cases) {
    await t.step(name, async () => {
      using dir = new TempDir();
      await assert.rejects(readW(bytes, dir.path), (error) => {
        assert.ok(error instanceof CheckpointError, String(error));
        assert.match(error.message, message);
        return true;
      });
    });
  }
});

Deno.test("parseNpyHeader() takes the three keys in any order and nothing else", () => {
  const parse = (text: string) => parseNpyHeader(npy(text));
  assert.deepEqual(parse("{'shape': (2, 3), 'descr': '<f2', 'fortran_order': True}").shape, [2, 3]);
  assert.deepEqual(parse(dict("()")).shape, []);
  assert.equal(parse(dict("(1,)", "|V2")).dtype, "BF16");
  assert.equal(parse(dict("(1,)", ">f4")).dtype, undefined);
  assert.equal(
    parse("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (), }").dtype,
    undefined,
  );
  const malformed = [
    "",
    "{}",
    dict("(3)"),
    dict("(-3,)"),
    dict("(3,,)"),
    dict("(99999999999999999999,)"),
    dict("(3,)", "<f4", "None"),
    dict("(3,)").replace("descr", "x"),
    dict("(3,)").replace("'shape'", "'descr'"),
    dict("(3,)").replace("}", "'x': 1}"),
    `${dict("(3,)")}print()`,
  ];
  for (const text of malformed) assert.throws(() => parse(text), SyntaxError, text);
});

Deno.test("parseNpyHeader() answers any text with a header or a SyntaxError", () => {
  const pieces = [
    "{",
    "}",
    "'descr'",
    "'shape'",
    "'fortran_order'",
    ":",
    "'<f4'",
    "(",
    "3",
    ",",
    ")",
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...pieces, "True", " "), { maxLength: 40 }), (parts) => {
      try {
        assert.ok(parseNpyHeader(npy(parts.join(""))).shape.every(Number.isSafeInteger));
      } catch (error) {
        assert.ok(error instanceof SyntaxError);
      }
    }),
    { numRuns: 500, seed: 3 },
  );
});
