/** A small chart over time (uPlot, loaded when first shown) with the newest figures as a hidden table. */

import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import type uPlot from "uplot";
import type { Line } from "./chart";
import classes from "./TimeChart.module.css";

type Props = {
  label: string;
  /** First the times in seconds since the epoch, then one row per line, in permille. */
  data: (number | null)[][];
  lines: Line[];
  height?: number;
};

export function TimeChart({ label, data, lines, height = 190 }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const scheme = useComputedColorScheme();
  const latest = useRef(data);
  latest.current = data;
  const shape = JSON.stringify(lines);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the chart is drawn anew when the theme or its lines change
  useEffect(() => {
    let gone = false;
    let watch: ResizeObserver | null = null;
    void import("./chart").then(({ draw }) => {
      const element = frame.current;
      if (gone || !element) return;
      chart.current = draw(element, latest.current, lines, height);
      watch = new ResizeObserver(() => chart.current?.setSize({ width: element.clientWidth, height }));
      watch.observe(element);
    });
    return () => {
      gone = true;
      watch?.disconnect();
      chart.current?.destroy();
      chart.current = null;
    };
  }, [scheme, shape, height]);

  useEffect(() => {
    chart.current?.setData(data as uPlot.AlignedData);
  }, [data]);

  return (
    <figure className={classes.figure} aria-label={label}>
      <div ref={frame} style={{ height }} aria-hidden />
      <figcaption className={classes.legend}>
        {lines.map((line, index) => (
          <span key={line.label}>
            <i style={{ borderTop: `4px ${line.dash ? "dotted" : "solid"} ${line.colour}` }} aria-hidden />
            {line.label} <b className="num">{newest(data[index + 1])}</b>
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

function newest(values: (number | null)[] | undefined): string {
  const value = values?.findLast((one) => one !== null);
  return value === undefined || value === null ? "—" : `${Math.round(value / 10)} %`;
}
