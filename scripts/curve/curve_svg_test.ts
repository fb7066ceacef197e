import assert from "node:assert/strict";
import { curveSvg } from "./curve_svg.ts";
import type { RunCurve } from "./read_metrics.ts";

const run = (name: string, rates: (number | null)[]): RunCurve => ({
  name,
  points: rates.map((successRate, i) => ({
    update: i + 1,
    successRate,
    episodeReward: successRate === null ? null : 2 * successRate - 0.5,
  })),
});

const count = (svg: string, pattern: RegExp) => [...svg.matchAll(pattern)].length;

Deno.test("curveSvg() draws a polyline per run and panel, and the mean of several", () => {
  const svg = curveSvg([run("a", [0.5, 0.75, 1]), run("b", [null, 0.5, 0.5])], "Curves");
  assert.equal(count(svg, /<polyline [^>]*class="run"/g), 4);
  assert.equal(count(svg, /<polyline [^>]*class="mean"/g), 2);
  for (const words of ["success rate", "episode reward", "policy update", "mean of 2 runs"]) {
    assert.ok(svg.includes(`>${words}<`), words);
  }
});

Deno.test("curveSvg() draws one run without a mean", () => {
  const svg = curveSvg([run("only", [0.5, 1])], "Curve");
  assert.equal(count(svg, /class="run"/g), 2);
  assert.equal(count(svg, /class="mean"/g), 0);
});

Deno.test("curveSvg() leaves out updates without a value and stays within the picture", () => {
  const svg = curveSvg([run("a", [0, null, 1])], "Curve");
  const [first] = svg.matchAll(/<polyline points="([^"]*)"/g);
  const corners = first[1].split(" ").map((corner) => corner.split(",").map(Number));
  assert.equal(corners.length, 2);
  const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!;
  for (const [x, y] of corners) {
    assert.ok(x > 0 && x < Number(width) && y > 0 && y < Number(height));
  }
  // Success falls towards larger y.
  assert.ok(corners[1][1] < corners[0][1]);
});

Deno.test("curveSvg() survives one update, and none with a value", () => {
  for (const rates of [[0.5], [null, null]]) {
    assert.doesNotMatch(curveSvg([run("a", rates)], "Curve"), /NaN|Infinity|undefined/);
  }
});

Deno.test("curveSvg() escapes names and titles", () => {
  const svg = curveSvg([run("<b> & c", [1])], `"x" < y`);
  assert.ok(svg.includes("&lt;b&gt; &amp; c"));
  assert.ok(svg.includes("&quot;x&quot; &lt; y"));
  assert.ok(!svg.includes("<b>"));
});

Deno.test("curveSvg() refuses to draw nothing", () => {
  assert.throws(() => curveSvg([], "Curve"), /there are no runs/);
});
