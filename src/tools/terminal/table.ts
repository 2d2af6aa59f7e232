/** Tables for terminals. */

/**
 * Aligns cells within `width` columns, truncating the widest column first, but never those in `whole`. ''
 * without rows.
 */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  whole: readonly string[] = [],
  width = 100,
): string {
  if (rows.length === 0) return '';
  const lines = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const cuttable = header.map((title) => !whole.includes(title));
  const gaps = 2 * (header.length - 1);
  while (widths.reduce((sum, one) => sum + one, gaps) > width) {
    const widest = widths.reduce(
      (best, one, at) => (cuttable[at] && one > (widths[best] ?? 0) ? at : best),
      cuttable.indexOf(true),
    );
    if ((widths[widest] ?? 0) <= 8) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return lines.map((line) => `${formatLine(line, widths)}\n`).join('');
}

function formatLine(cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((cell, column) => {
      const width = widths[column] ?? 0;
      return cell.length > width ? `${cell.slice(0, width - 1)}…` : cell.padEnd(width);
    })
    .join('  ')
    .trimEnd();
}
