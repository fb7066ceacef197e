import assert from "node:assert/strict";
import { learningSvg } from "./learning_svg.ts";
import { madeUpRun } from "./testing.ts";

const count = (text: string, part: string) => text.split(part).length - 1;

Deno.test("learningSvg() draws a line a run and panel, and a mean where there are several", () => {
  const svg = learningSvg([
    madeUpRun("default", 0, [0.4, 0.9, 1]),
    madeUpRun("default", 1, [0.4, 0.8]),
    madeUpRun("a peer", 0, [0, 0.5, 1]),
  ], "reach");
  assert.equal(count(svg, 'class="run"'), 6);
  assert.equal(count(svg, 'class="mean"'), 2);
  assert.match(svg, />default \(2 runs\)</);
  assert.match(svg, />a peer</);
  assert.ok(!/NaN|Infinity|undefined/.test(svg));
  // The mean ends where the shorter run does: two corners.
  const [, points] = /points="([^"]+)" [^>]*class="mean"/.exec(svg)!;
  assert.equal(points.split(" ").length, 2);
});

Deno.test("learningSvg() draws a single measurement and escapes names", () => {
  const svg = learningSvg([madeUpRun("<b>", 0, [0.4])], `"x" < y`);
  assert.ok(svg.includes("&lt;b&gt;") && svg.includes("&quot;x&quot; &lt; y"));
  assert.ok(!/NaN|Infinity/.test(svg));
});

Deno.test("learningSvg() refuses to draw nothing", () => {
  assert.throws(() => learningSvg([], "x"), /no run has a measurement/);
});
