/**
 * The few shapes that pictures of this project are drawn with.
 * @module
 */

/** From data to pixels. */
export type Scale = (value: number) => number;

/** Colour of what is read first. */
export const INK = "#1f2328";
/** Colour of axes and their numbers. */
export const MUTED = "#59636e";
/** Colour of the grid. */
export const GRID = "#e4e8ec";
/** Okabe and Ito's colours, told apart by people with any colour vision; without black and yellow. */
export const LINE_COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];

/**
 * The head of a document on a white ground, so that dark pages show it too.
 * @param title Its name for who cannot see it.
 */
export function svgHead(width: number, height: number, title: string): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" ` +
    `height="${height}" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="12" ` +
    `fill="${INK}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
  ].join("\n");
}

/** A line through points given in the units of the data. */
export function polyline(
  points: readonly (readonly [number, number])[],
  x: Scale,
  y: Scale,
  attributes: string,
): string {
  const places = points.map(([a, b]) => `${round(x(a))},${round(y(b))}`).join(" ");
  return `<polyline points="${places}" fill="none" stroke-linejoin="round" ${attributes}/>`;
}

/** A straight line between two pixels. */
export function line(x1: number, y1: number, x2: number, y2: number, color: string): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map(round);
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" stroke="${color}"/>`;
}

/** A word at a pixel. */
export function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escapeXml(content)}</text>`;
}

/** Tenths of a pixel are finer than any screen. */
export function round(pixels: number): number {
  return Math.round(10 * pixels) / 10;
}

/** What fits beside a legend's line. */
export function shorten(name: string, length: number): string {
  return name.length <= length ? name : `${name.slice(0, length - 1)}…`;
}

function escapeXml(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
