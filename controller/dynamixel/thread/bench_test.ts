import assert from "node:assert/strict";
import { benchBus } from "./bench.ts";

Deno.test({
  name: "benchBus() counts the cycles of two arms",
  ignore: Deno.build.os !== "linux",
}, async () => {
  const bench = await benchBus({ rateHz: 100, seconds: 0.5 });
  const { cycles, missed, jitterP50Ms, jitterP99Ms, jitterMaxMs, longestExchangeMs } = bench;
  assert.ok(cycles + missed >= 95, `${cycles} + ${missed}`);
  assert.ok(jitterP50Ms > 0 && jitterP50Ms <= jitterP99Ms && jitterP99Ms <= jitterMaxMs);
  assert.ok(longestExchangeMs > 0);
});
