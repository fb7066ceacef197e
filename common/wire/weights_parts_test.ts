import assert from "node:assert/strict";
import fc from "fast-check";
import type { HostTensor } from "../types.ts";
import { decodeFrame, encodeFrame } from "./frames.ts";
import type { WeightsMessage } from "./messages.ts";
import { MIN_MAX_FRAME_BYTES } from "./protocol.ts";
import { sampleTensors } from "./testing.ts";
import { splitWeights, WeightsAssembler, type WeightsSnapshot } from "./weights_parts.ts";
import { WireError } from "./wire_error.ts";

function assemble(parts: readonly WeightsMessage[]): WeightsSnapshot | null {
  const assembler = new WeightsAssembler();
  let result: WeightsSnapshot | null = null;
  for (const part of parts) {
    assert.equal(result, null, "only the last part completes");
    result = assembler.add(part);
  }
  return result;
}

const tensor = fc.record({
  shape: fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 3 }),
  first: fc.integer({ min: -1000, max: 1000 }),
});

Deno.test("splitWeights() and WeightsAssembler round-trip through capped frames", () => {
  fc.assert(
    fc.property(fc.array(tensor, { maxLength: 8 }), fc.nat(), (specs, version) => {
      const tensors: HostTensor[] = specs.map(({ shape, first }, index) => {
        const size = shape.reduce((product, dimension) => product * dimension, 1);
        const data = Float32Array.from({ length: size }, (_, at) => first + at);
        return { name: `layer_${index}`, shape, data };
      });
      const maxFrameBytes = MIN_MAX_FRAME_BYTES;
      const parts = splitWeights({ version, tensors }, maxFrameBytes).map((part) => {
        const message = decodeFrame(encodeFrame(part, { maxFrameBytes }), { maxFrameBytes });
        assert.ok(message.type === "weights");
        return message;
      });
      assert.deepEqual(assemble(parts), { version, progress: 0, tensors });
    }),
    { numRuns: 50 },
  );
});

Deno.test("splitWeights() cuts a tensor that is larger than a frame", () => {
  const data = Float32Array.from({ length: 100_000 }, (_, at) => at);
  const parts = splitWeights(
    { version: 1, tensors: [{ name: "w", shape: [100, 1000], data }] },
    65536,
  );
  assert.equal(parts.length, 7);
  assert.deepEqual(assemble(parts)?.tensors[0].data, data);
});

Deno.test("splitWeights() refuses data that does not fill its shape", () => {
  const tensors = [{ name: "w", shape: [3], data: new Float32Array(2) }];
  assert.throws(
    () => splitWeights({ version: 1, tensors }),
    /w has 2 values, its shape \[3\] has 3/,
  );
});

Deno.test("splitWeights() refuses a name that no frame could hold", () => {
  const tensors = [{ name: "w".repeat(30_000), shape: [], data: new Float32Array(1) }];
  assert.throws(() => splitWeights({ version: 1, tensors }, 65536), RangeError);
});

Deno.test("WeightsAssembler forgets an unfinished version when a newer one begins", () => {
  const big = (version: number) =>
    splitWeights({
      version,
      tensors: [{ name: "w", shape: [20_000], data: new Float32Array(20_000).fill(version) }],
    }, 65536);
  const assembler = new WeightsAssembler();
  assert.equal(assembler.add(big(1)[0]), null);
  assert.equal(assembler.add(big(2)[0]), null);
  assert.equal(assembler.add(big(2)[1])?.tensors[0].data[19_999], 2);
});

Deno.test("WeightsAssembler refuses parts out of order and broken slices", () => {
  const part = splitWeights({ version: 1, tensors: sampleTensors(1) })[0];
  const slice = part.slices[0];
  const withSlices = (...slices: WeightsMessage["slices"]) => ({ ...part, slices });
  const cases: [WeightsMessage, RegExp][] = [
    [{ ...part, partIndex: 1, partCount: 2 }, /part 1 of version 1 came/],
    [withSlices({ ...slice, offset: 1 }), /got 4 values at 1/],
    [withSlices(slice, slice), /4 of 4 were filled/],
    [withSlices({ ...slice, shape: [5] }), /4 of 5 values after the last part/],
    [withSlices({ ...slice, shape: [1e5, 1e5, 1e5] }), /the limit is 2147483648/],
    [withSlices({ ...slice, data: Float32Array.of(1, NaN, 2, 3) }), /holds NaN at index 1/],
  ];
  for (const [message, pattern] of cases) {
    assert.throws(
      () => new WeightsAssembler().add(message),
      (error: unknown) => error instanceof WireError && pattern.test(error.message),
      String(pattern),
    );
  }
});
