import assert from "node:assert/strict";
import { type ChunkEnd, endOf, endsEpisode } from "./chunk_end.ts";

const GOES_ON = { isTerminal: false, isTruncated: false, isCutShort: false, isSuccess: false };

Deno.test("endOf() and endsEpisode() read a chunk's flags", () => {
  const cases: [ChunkEnd, Partial<typeof GOES_ON>][] = [
    ["goes_on", {}],
    // A task may be solved before its time is over without ending by it.
    ["goes_on", { isSuccess: true }],
    ["success", { isTerminal: true, isSuccess: true }],
    ["failure", { isTerminal: true }],
    ["time_limit", { isTruncated: true }],
    ["time_limit", { isTruncated: true, isSuccess: true }],
    ["stopped", { isCutShort: true }],
  ];
  for (const [end, changes] of cases) {
    const chunk = { ...GOES_ON, ...changes };
    assert.equal(endOf(chunk), end);
    assert.equal(endsEpisode(chunk), end !== "goes_on");
  }
});
