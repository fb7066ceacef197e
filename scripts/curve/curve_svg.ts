/**
 * Draws learning curves as an SVG picture: success rate above, reward below, over the updates.
 * @module
 */

// @ts-types="@types/d3-scale"
import { type ScaleLinear, scaleLinear } from "d3-scale";
import { type CurveField, knownPoints, meanCurve, type RunCurve } from "./read_metrics.ts";
import {
  GRID,
  INK,
  line,
  LINE_COLORS,
  MUTED,
  polyline,
  round,
  type Scale,
  shorten,
  svgHead,
  text,
} from "./svg.ts";

/** Sizes in pixels. */
const WIDTH = 840;
const LEFT = 72;
const RIGHT = WIDTH - 24;
const TITLE_BASELINE = 30;
const LEGEND_TOP = 46;
const LEGEND_ROW = 20;
const LEGEND_ENTRY = 124;
const SUCCESS_HEIGHT = 240;
const REWARD_HEIGHT = 150;
const PANEL_GAP = 28;
const BOTTOM = 52;

/** Letters that fit beside a legend's line. */
const LEGEND_LETTERS = 14;

/**
 * Draw the picture.
 *
 * @param runs At least one run with at least one update.
 * @param title Heading.
 * @returns An SVG document with one thin `polyline` of class `run` a run and panel, and with several
 *   runs one thick one of class `mean` a panel. It has a white ground, so dark pages show it too.
 * @throws {RangeError} If there is no run.
 */
export function curveSvg(runs: readonly RunCurve[], title: string): string {
  if (runs.length === 0) throw new RangeError("Cannot draw a learning curve: there are no runs");
  const legend = legendOf(runs);
  const top = LEGEND_TOP + legend.rows * LEGEND_ROW + 14;
  const middle = top + SUCCESS_HEIGHT + PANEL_GAP;
  const height = middle + REWARD_HEIGHT + BOTTOM;

  const updates = runs.flatMap((run) => run.points.map((point) => point.update));
  const last = Math.max(...updates);
  const first = Math.min(...updates);
  // One update alone still needs an axis of some width.
  const x = scaleLinear().domain([first, Math.max(last, first + 1)]).range([LEFT, RIGHT]);
  const success = scaleLinear().domain([0, 1]).range([top + SUCCESS_HEIGHT, top]);
  const reward = scaleLinear().domain(rewardDomain(runs)).nice(4)
    .range([middle + REWARD_HEIGHT, middle]);

  return [
    svgHead(WIDTH, height, title),
    text(LEFT, TITLE_BASELINE, title, `font-size="17" font-weight="600"`),
    legend.svg,
    panel(x, success, { label: "success rate", percent: true, hasUpdates: false }),
    ...linesOf(runs, "successRate", x, success),
    panel(x, reward, { label: "episode reward", percent: false, hasUpdates: true }),
    ...linesOf(runs, "episodeReward", x, reward),
    text(
      (LEFT + RIGHT) / 2,
      height - 12,
      "policy update",
      `text-anchor="middle" fill="${MUTED}"`,
    ),
    "</svg>\n",
  ].join("\n");
}

/** From 0 (or the least reward below it) to the greatest. */
function rewardDomain(runs: readonly RunCurve[]): [number, number] {
  const rewards = runs.flatMap((run) => run.points.flatMap((p) => p.episodeReward ?? []));
  const low = Math.min(0, ...rewards);
  const high = Math.max(0, ...rewards);
  return low === high ? [0, 1] : [low, high];
}

/** Grid, ticks and the name of the vertical axis; the updates below the last panel. */
function panel(
  x: ScaleLinear<number, number>,
  y: ScaleLinear<number, number>,
  { label, percent, hasUpdates }: { label: string; percent: boolean; hasUpdates: boolean },
): string {
  const [bottom, top] = y.range();
  const rows = y.ticks(percent ? 5 : 4);
  const format = y.tickFormat(percent ? 5 : 4, percent ? ".0%" : undefined);
  const columns = x.ticks(10).filter(Number.isInteger);
  const center = (top + bottom) / 2;
  return [
    ...rows.map((value) => line(LEFT, y(value), RIGHT, y(value), GRID)),
    ...columns.map((value) => line(x(value), bottom, x(value), bottom + 4, MUTED)),
    line(LEFT, bottom, RIGHT, bottom, MUTED),
    line(LEFT, top, LEFT, bottom, MUTED),
    ...rows.map((value) =>
      text(LEFT - 8, y(value) + 4, format(value), `text-anchor="end" fill="${MUTED}"`)
    ),
    ...(hasUpdates ? columns : []).map((value) =>
      text(x(value), bottom + 18, String(value), `text-anchor="middle" fill="${MUTED}"`)
    ),
    text(20, center, label, `text-anchor="middle" transform="rotate(-90 20 ${round(center)})"`),
  ].join("\n");
}

/** A thin line a run, and the mean over them if there are several. */
function linesOf(runs: readonly RunCurve[], field: CurveField, x: Scale, y: Scale): string[] {
  const thin = runs.map(({ points }, i) => {
    return polyline(
      knownPoints(points, field),
      x,
      y,
      `class="run" stroke="${runColor(i)}" ${thinStroke(runs)}`,
    );
  });
  if (runs.length === 1) return thin;
  return [
    ...thin,
    polyline(meanCurve(runs, field), x, y, `class="mean" stroke="${INK}" stroke-width="2.5"`),
  ];
}

function runColor(index: number): string {
  return LINE_COLORS[index % LINE_COLORS.length];
}

/** Among several, runs step back behind their mean. */
function thinStroke(runs: readonly RunCurve[]): string {
  return runs.length === 1 ? `stroke-width="2"` : `stroke-width="1.2" stroke-opacity="0.75"`;
}

/** Entries from left to right, as many rows as they need. */
function legendOf(runs: readonly RunCurve[]): { rows: number; svg: string } {
  const entries = runs.map(({ name }, i) => ({
    name,
    stroke: `stroke="${runColor(i)}" ${thinStroke(runs)}`,
  }));
  if (runs.length > 1) {
    entries.push({
      name: `mean of ${runs.length} runs`,
      stroke: `stroke="${INK}" stroke-width="2.5"`,
    });
  }
  const columns = Math.floor((RIGHT - LEFT) / LEGEND_ENTRY);
  const svg = entries.map(({ name, stroke }, i) => {
    const left = LEFT + (i % columns) * LEGEND_ENTRY;
    const center = LEGEND_TOP + Math.floor(i / columns) * LEGEND_ROW + LEGEND_ROW / 2;
    return `<line x1="${left}" y1="${center}" x2="${left + 20}" y2="${center}" ${stroke}/>\n` +
      text(left + 26, center + 4, shorten(name, LEGEND_LETTERS), `fill="${MUTED}"`);
  });
  return { rows: Math.ceil(entries.length / columns), svg: svg.join("\n") };
}
