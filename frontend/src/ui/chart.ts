/** The part of a chart that needs uPlot; a chunk of its own. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export type Line = { label: string; colour: string; fill?: boolean; dash?: number[] };

/** A chart of shares in permille over time, as wide as `element`. */
export function draw(element: HTMLElement, data: (number | null)[][], lines: Line[], height: number): uPlot {
  const styles = getComputedStyle(element);
  const colour = (name: string) => styles.getPropertyValue(name).trim();
  const resolved = (value: string) => value.replace(/var\((--[^)]+)\)/, (_, name: string) => colour(name));
  const axis: uPlot.Axis = {
    stroke: colour("--text-2"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: "11.5px Inter Variable, system-ui, sans-serif",
  };
  return new uPlot(
    {
      width: Math.max(50, element.clientWidth),
      height,
      legend: { show: false },
      cursor: { y: false, points: { size: 7 } },
      padding: [8, 28, 0, 0],
      scales: {
        x: { range: (_self, min, max) => (min === max ? [min - 60, max + 60] : [min, max]) },
        y: { range: (_self, _min, max) => [0, Math.max(1000, max)] },
      },
      axes: [
        {
          ...axis,
          space: 70,
          size: 30,
          values: (_self, ticks, _axis, _space, step) =>
            ticks.map((tick) => (step < 60 ? exact : time).format(new Date(tick * 1000))),
        },
        {
          ...axis,
          size: 46,
          splits: () => [0, 250, 500, 750, 1000],
          values: (_self, ticks) => ticks.map((tick) => `${tick / 10} %`),
        },
      ],
      series: [
        {},
        ...lines.map((line) => ({
          label: line.label,
          stroke: resolved(line.colour),
          width: 2,
          dash: line.dash,
          fill: line.fill ? `${resolved(line.colour)}26` : undefined,
          points: { show: (self: uPlot) => self.data[0].length === 1, size: 9 }, // one alone makes no line
        })),
      ],
    },
    data as uPlot.AlignedData,
    element,
  );
}

const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const exact = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
