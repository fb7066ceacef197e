import assert from "node:assert/strict";
import fc from "fast-check";
import { CaptureClock } from "./capture_clock.ts";
import { FrameReader } from "./frame_reader.ts";
import { createFrameMemory, FrameWriter, LatestFrame } from "./latest_frame.ts";

const SIZE = { width: 3, height: 2 };
const PIXELS = SIZE.width * SIZE.height * 3;

function reading() {
  const memory = createFrameMemory(SIZE);
  return {
    reader: new FrameReader(new FrameWriter(memory), new CaptureClock(10)),
    latest: new LatestFrame(memory),
  };
}

/** A PPM picture of one value. */
function ppm(value: number, header = "P6\n3 2\n255\n"): Uint8Array {
  return Uint8Array.from([...new TextEncoder().encode(header), ...Array(PIXELS).fill(value)]);
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

Deno.test("FrameReader.push() cuts pictures out of chunks of any size", () => {
  const stream = join(ppm(1), ppm(2), ppm(80), ppm(54)); // 80 and 54 are P and 6
  fc.assert(
    fc.property(fc.array(fc.nat({ max: stream.length }), { maxLength: 30 }), (cuts) => {
      const { reader, latest } = reading();
      const ends = [...cuts, stream.length].sort((a, b) => a - b);
      const seen: number[] = [];
      let start = 0;
      for (const end of ends) {
        const before = latest.frames;
        reader.push(stream.subarray(start, end), 0);
        start = end;
        const frame = latest.take();
        if (latest.frames > before) seen.push(frame?.image.data[0] ?? -1);
        assert.ok(frame === null || frame.image.data.every((x) => x === frame.image.data[0]));
      }
      assert.equal(latest.frames, 4);
      assert.equal(seen.at(-1), 54);
      assert.equal(reader.isPartial, false);
    }),
    { numRuns: 100 },
  );
});

Deno.test("FrameReader stamps a picture with the arrival of its first byte", () => {
  const { reader, latest } = reading();
  const picture = ppm(7);
  reader.push(picture.subarray(0, 1), 100);
  reader.push(picture.subarray(1, 20), 140);
  reader.push(join(picture.subarray(20), picture.subarray(0, 5)), 180);
  assert.equal(latest.take()?.capturedMs, 100);
  reader.push(picture.subarray(5), 220);
  assert.equal(latest.take()?.capturedMs, 180);
});

Deno.test("FrameReader publishes no picture whose end is missing", () => {
  const { reader, latest } = reading();
  reader.push(ppm(7).subarray(0, -1), 0);
  assert.equal(latest.take(), null);
  assert.equal(reader.isPartial, true);
});

Deno.test("FrameReader.push() refuses another size and other bytes in a sentence", () => {
  const cases: readonly [Uint8Array, RegExp][] = [
    [ppm(1, "P6\n640 480\n255\n"), /pictures of 640×480, but 3×2 were asked for: set width and/],
    [ppm(1, "P6\n3 24\n255\n"), /pictures of 3×24, but 3×2 were asked for/],
    [ppm(1, "P5\n3 2\n255\n"), /no pictures of 3×2 but other bytes/],
    [new Uint8Array(100), /no pictures of 3×2 but other bytes/],
    [join(ppm(1), new Uint8Array(1)), /no pictures/],
  ];
  for (const [bytes, message] of cases) {
    const { reader } = reading();
    assert.throws(() => reader.push(bytes, 0), { name: "RangeError", message });
  }
});
