/** One number over time. */
import { useEffect, useRef } from "preact/hooks";
import UPlot from "uplot";
import { time } from "../model/format.ts";
import "uplot/dist/uPlot.min.css";

interface Props {
  readonly title: string;
  /** The last value in words, for whoever does not see the plot too. */
  readonly now: string;
  readonly seconds: readonly number[];
  readonly values: readonly (number | null)[];
}

const heightPx = 130;

export function Plot({ title, now, seconds, values }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot>(undefined);
  const data: UPlot.AlignedData = [[...seconds], [...values]];
  useEffect(() => {
    const { current } = place;
    if (current === null) return undefined;
    const drawn = new UPlot(optionsFor(current), data, current);
    plot.current = drawn;
    const resized = new ResizeObserver(() => drawn.setSize({ width: current.clientWidth, height: heightPx }));
    resized.observe(current);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => drawn.redraw(false, true);
    scheme.addEventListener("change", redraw);
    return () => {
      scheme.removeEventListener("change", redraw);
      resized.disconnect();
      drawn.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData(data), [seconds, values]);
  return (
    <figure class="plot">
      <figcaption>
        {title} <strong>{now}</strong>
      </figcaption>
      <div ref={place} aria-hidden="true" />
    </figure>
  );
}

function optionsFor(place: HTMLElement): UPlot.Options {
  const color = (name: string) => () => getComputedStyle(place).getPropertyValue(name);
  const axis = { stroke: color("--quiet"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
  return {
    width: place.clientWidth,
    height: heightPx,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { range: (_, first, last) => withSpan(first, last) },
      y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] },
    },
    axes: [
      { ...axis, size: 24, space: 90, values: (_, marks) => marks.map((mark) => time(mark * 1_000).slice(11)) },
      { ...axis, size: 44 },
    ],
    series: [{}, { stroke: color("--accent"), width: 2, spanGaps: false, points: { show: false } }],
  };
}

/** At least so much of time is shown, also before there is anything to show. */
const spanSecondsMin = 60;

function withSpan(first: number | null, last: number | null): [number, number] {
  const end = last ?? Date.now() / 1_000;
  return [Math.min(first ?? end, end - spanSecondsMin), end];
}
