/**
 * Draws success on held-out episodes of several variants, over control steps and over time.
 * @module
 */

// @ts-types="@types/d3-scale"
import { scaleLinear } from "d3-scale";
import {
  GRID,
  INK,
  line,
  LINE_COLORS,
  MUTED,
  polyline,
  type Scale,
  shorten,
  svgHead,
  text,
} from "../../curve/svg.ts";
import type { EvaluationLine, RunResults } from "./result_lines.ts";

/** Sizes in pixels. */
const WIDTH = 840;
const LEFT = 72;
const RIGHT = WIDTH - 24;
const TITLE_BASELINE = 30;
const LEGEND_TOP = 46;
const LEGEND_ROW = 20;
const LEGEND_COLUMNS = 3;
const LEGEND_ENTRY = (RIGHT - LEFT) / LEGEND_COLUMNS;
const LEGEND_LETTERS = 30;
const PANEL_HEIGHT = 220;
const PANEL_GAP = 62;
const BOTTOM = 52;

/** One horizontal axis. */
interface Axis {
  readonly label: string;
  readonly value: (point: EvaluationLine) => number;
}

const AXES: readonly Axis[] = [
  { label: "control steps, thousands", value: ({ controlSteps }) => controlSteps / 1000 },
  { label: "time of training, minutes", value: ({ wallSeconds }) => wallSeconds / 60 },
];

/** Runs of one variant. */
interface Group {
  readonly name: string;
  readonly color: string;
  readonly runs: readonly (readonly EvaluationLine[])[];
}

/**
 * Draw the picture.
 *
 * @param runs Those with measurements count; at least one must have some. Variants that share a name
 *   and an experiment share a colour, with one thin line of class `run` a run and panel, and one thick
 *   one of class `mean` where there are several.
 * @param title Heading.
 * @returns An SVG document.
 * @throws {RangeError} If there is nothing to draw.
 */
export function learningSvg(runs: readonly RunResults[], title: string): string {
  const groups = groupsOf(runs);
  if (groups.length === 0) {
    throw new RangeError("Cannot draw learning: no run has a measurement; let one finish first");
  }
  const rows = Math.ceil(groups.length / LEGEND_COLUMNS);
  const top = LEGEND_TOP + rows * LEGEND_ROW + 14;
  const height = top + AXES.length * PANEL_HEIGHT + (AXES.length - 1) * PANEL_GAP + BOTTOM;
  const panels = AXES.map((axis, i) => panel(groups, axis, top + i * (PANEL_HEIGHT + PANEL_GAP)));
  return [
    svgHead(WIDTH, height, title),
    text(LEFT, TITLE_BASELINE, title, `font-size="17" font-weight="600"`),
    ...groups.map(legendEntry),
    ...panels,
    "</svg>\n",
  ].join("\n");
}

function groupsOf(runs: readonly RunResults[]): Group[] {
  const measured = runs.filter(({ evaluations }) => evaluations.length > 0);
  const names = [...new Set(measured.map(({ variant }) => variant))];
  return names.map((name, i) => ({
    name,
    color: LINE_COLORS[i % LINE_COLORS.length],
    runs: measured.filter(({ variant }) => variant === name).map(({ evaluations }) => evaluations),
  }));
}

function legendEntry({ name, color, runs }: Group, index: number): string {
  const left = LEFT + (index % LEGEND_COLUMNS) * LEGEND_ENTRY;
  const center = LEGEND_TOP + Math.floor(index / LEGEND_COLUMNS) * LEGEND_ROW + LEGEND_ROW / 2;
  const label = runs.length === 1 ? name : `${name} (${runs.length} runs)`;
  return `<line x1="${left}" y1="${center}" x2="${left + 20}" y2="${center}" stroke="${color}" ` +
    `stroke-width="2.5"/>\n` +
    text(left + 26, center + 4, shorten(label, LEGEND_LETTERS), `fill="${MUTED}"`);
}

function panel(groups: readonly Group[], { label, value }: Axis, top: number): string {
  const bottom = top + PANEL_HEIGHT;
  const last = Math.max(...groups.flatMap(({ runs }) => runs.flat().map(value)));
  const x = scaleLinear().domain([0, last || 1]).range([LEFT, RIGHT]);
  const y = scaleLinear().domain([0, 1]).range([bottom, top]);
  const format = y.tickFormat(5, ".0%");
  return [
    ...y.ticks(5).flatMap((share) => [
      line(LEFT, y(share), RIGHT, y(share), GRID),
      text(LEFT - 8, y(share) + 4, format(share), `text-anchor="end" fill="${MUTED}"`),
    ]),
    ...x.ticks(8).flatMap((at) => [
      line(x(at), bottom, x(at), bottom + 4, MUTED),
      text(x(at), bottom + 18, at.toLocaleString("en"), `text-anchor="middle" fill="${MUTED}"`),
    ]),
    line(LEFT, bottom, RIGHT, bottom, MUTED),
    line(LEFT, top, LEFT, bottom, MUTED),
    text((LEFT + RIGHT) / 2, bottom + 36, label, `text-anchor="middle" fill="${INK}"`),
    ...groups.flatMap((group) => linesOf(group, value, x, y)),
  ].join("\n");
}

function linesOf({ runs, color }: Group, value: Axis["value"], x: Scale, y: Scale): string[] {
  const curves = runs.map((run) => run.map((point) => [value(point), point.successRate] as const));
  const isAlone = curves.length === 1;
  const thin = isAlone ? `stroke-width="2"` : `stroke-width="1" stroke-opacity="0.45"`;
  const lines = curves.map((curve) =>
    polyline(curve, x, y, `class="run" stroke="${color}" ${thin}`)
  );
  if (isAlone) return lines;
  return [
    ...lines,
    polyline(meanOf(curves), x, y, `class="mean" stroke="${color}" stroke-width="2.5"`),
  ];
}

/**
 * The mean of several curves as far as all of them go. At each corner of one the others count with
 * what their drawn lines show there.
 */
function meanOf(curves: readonly (readonly (readonly [number, number])[])[]): [number, number][] {
  const end = Math.min(...curves.map((curve) => curve.at(-1)![0]));
  const corners = [...new Set(curves.flat().map(([at]) => at))].filter((at) => at <= end)
    .sort((a, b) => a - b);
  return corners.map((at) => [
    at,
    curves.reduce((sum, curve) => sum + heightAt(curve, at), 0) / curves.length,
  ]);
}

function heightAt(curve: readonly (readonly [number, number])[], at: number): number {
  const next = curve.findIndex(([x]) => x >= at);
  const [right, high] = curve[next];
  if (next === 0 || right === at) return high;
  const [left, low] = curve[next - 1];
  return low + (high - low) * (at - left) / (right - left);
}
