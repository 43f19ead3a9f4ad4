/** Two kinds of plots as SVG text: ratios with their intervals, and lines over a logarithmic axis. Pure, so that pages can be checked. */
export interface RatioRow {
  readonly label: string;
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export interface LineSeries {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

const ink = "#1f2430";
const faint = "#c9ced8";
const colors = ["#2563a8", "#c2571a", "#2c7a4b", "#8a3a86", "#6b6b1f", "#a02c3b"];
const font = 'font-family="sans-serif" font-size="12"';

/** One row for each ratio: a point for the median, a bar for the interval, and a line where both sides are alike. */
export function ratioPlot(title: string, rows: readonly RatioRow[]): string {
  const drawn = rows.filter(({ median }) => Number.isFinite(median) && median > 0);
  const [left, right, top, rowHeight] = [230, 90, 40, 24];
  const width = 760;
  const height = top + drawn.length * rowHeight + 40;
  // Twice as fast and half as fast are equally far from 1.
  const low = Math.min(0.5, ...drawn.map((row) => row.low));
  const high = Math.max(2, ...drawn.map((row) => row.high));
  const x = logScale([low, high], [left, width - right]);
  const bottom = top + drawn.length * rowHeight;
  const marks = [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8].filter((mark) => mark >= low && mark <= high);
  const parts = marks.flatMap((mark) => [
    line([x(mark), top - 6], [x(mark), bottom], mark === 1 ? ink : faint),
    text([x(mark), bottom + 18], `${mark}x`, "middle"),
  ]);
  for (const [at, row] of drawn.entries()) {
    const y = top + (at + 0.5) * rowHeight;
    parts.push(text([left - 12, y + 4], row.label, "end"));
    parts.push(line([x(row.low), y], [x(row.high), y], colors[0] ?? ink, 3));
    parts.push(`<circle cx="${fixed(x(row.median))}" cy="${fixed(y)}" r="5" fill="${colors[0]}"/>`);
    parts.push(text([width - right + 12, y + 4], `${row.median.toFixed(2)}x`, "start"));
  }
  return svg(title, [width, height], parts);
}

/** Lines over a logarithmic axis of x, such as the number of clients; y begins at 0. */
export function linePlot(
  title: string,
  axes: { readonly x: string; readonly y: string },
  series: readonly LineSeries[],
): string {
  const [left, right, top, bottom] = [70, 190, 40, 300];
  const [width, height] = [760, 350];
  const points = series.flatMap((one) => one.points);
  const xs = [...new Set(points.map(([x]) => x))].sort((a, b) => a - b);
  const x = logScale([xs[0] ?? 1, xs.at(-1) ?? 1], [left + 10, width - right - 10]);
  const highest = niceCeiling(Math.max(1, ...points.map(([, y]) => y)));
  const y = (value: number) => bottom - (value / highest) * (bottom - top);
  const parts = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
    line([left, y(share * highest)], [width - right, y(share * highest)], faint),
    text([left - 8, y(share * highest) + 4], String(share * highest), "end"),
  ]);
  for (const value of xs) parts.push(text([x(value), bottom + 18], String(value), "middle"));
  parts.push(
    text([(left + width - right) / 2, bottom + 38], axes.x, "middle"),
    text([left, top - 10], axes.y, "start"),
  );
  for (const [at, { name, points: own }] of series.entries()) {
    const color = colors[at % colors.length] ?? ink;
    const path = own.map(([px, py]) => `${fixed(x(px))},${fixed(y(py))}`).join(" ");
    parts.push(`<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"/>`);
    for (const [px, py] of own) parts.push(`<circle cx="${fixed(x(px))}" cy="${fixed(y(py))}" r="4" fill="${color}"/>`);
    const legendY = top + at * 20;
    parts.push(line([width - right + 10, legendY], [width - right + 30, legendY], color, 3));
    parts.push(text([width - right + 36, legendY + 4], name, "start"));
  }
  return svg(title, [width, height], parts);
}

function logScale(
  [from, to]: readonly [number, number],
  [start, end]: readonly [number, number],
): (value: number) => number {
  const span = Math.log(to / from);
  return (value) => (span === 0 ? (start + end) / 2 : start + (Math.log(value / from) / span) * (end - start));
}

/** The next of 1, 2, 4, 6, 8 and 10 times a power of ten: quarters of it are short numbers. */
export function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 4, 6, 8, 10].find((one) => one * power >= value) ?? 10;
  return step * power;
}

function svg(title: string, [width, height]: readonly [number, number], parts: readonly string[]): string {
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ${font} fill="${ink}">`;
  const label = `<title>${escaped(title)}</title>`;
  // A page may be dark; the plot is not.
  const ground = `<rect width="${width}" height="${height}" fill="#ffffff"/>`;
  const heading = `<text x="16" y="20" font-weight="bold">${escaped(title)}</text>`;
  return `${[head, label, ground, heading, ...parts, "</svg>"].join("\n")}\n`;
}

function line(
  [x1, y1]: readonly [number, number],
  [x2, y2]: readonly [number, number],
  color: string,
  width = 1,
): string {
  return `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" stroke="${color}" stroke-width="${width}"/>`;
}

function text([x, y]: readonly [number, number], content: string, anchor: "start" | "middle" | "end"): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">${escaped(content)}</text>`;
}

function fixed(value: number): string {
  return value.toFixed(1);
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
