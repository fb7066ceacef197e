/**
 * Tables for a terminal.
 * @module
 */

/**
 * Lay rows out in columns two spaces apart, the header underlined. The first column is flush left, the
 * others flush right, as numbers want it.
 *
 * @param header Names of the columns.
 * @param rows Cells; a row may end early.
 * @returns Lines without trailing spaces.
 */
export function textTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = header.map((name, i) =>
    Math.max(name.length, ...rows.map((row) => (row[i] ?? "").length))
  );
  const line = (cells: readonly string[]) =>
    widths.map((width, i) =>
      i === 0 ? (cells[i] ?? "").padEnd(width) : (cells[i] ?? "").padStart(width)
    ).join("  ").trimEnd();
  return [line(header), line(widths.map((width) => "─".repeat(width))), ...rows.map(line)]
    .join("\n");
}
