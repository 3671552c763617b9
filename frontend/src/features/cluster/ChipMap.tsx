/** The chip map: a canvas that is looked at by mouse or arrow keys. Its table alternative is the list of nodes. */

import { useComputedColorScheme } from "@mantine/core";
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { percent } from "../../ui/format";
import classes from "./ChipMap.module.css";
import { type Layout, layoutOf, neighbour } from "./layout";
import { type ClusterModel, COLDEST_C, type ColourBy, HOTTEST_C, OFFLINE, UNKNOWN } from "./model";
import { paint, type Theme } from "./paint";

/** The map is laid out to be no taller than this where it can, in pixels. */
const TALLEST_PX = 600;

type Props = {
  model: ClusterModel;
  values: Uint16Array;
  by: ColourBy;
  selected: string | undefined;
  onOpen: (node: string) => void;
};

export function ChipMap({ model, values, by, selected, onOpen }: Props) {
  const { t } = useTranslation();
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(frame);
  const layout = useMemo(() => layoutOf(model, width, TALLEST_PX), [model, width]);
  const theme = useTheme(frame);
  const [hovered, setHovered] = useState(-1);
  const [cursor, setCursor] = useState(-1);
  const shown = hovered >= 0 ? hovered : cursor;

  useEffect(() => {
    const context = prepared(canvas.current, layout);
    if (context) paint(context, { model, layout, values, by, theme });
  }, [model, layout, values, by, theme]);

  function pressed(event: KeyboardEvent) {
    const moves: { [key: string]: [number, number] } = {
      ArrowRight: [1, 0],
      ArrowLeft: [-1, 0],
      ArrowDown: [0, 1],
      ArrowUp: [0, -1],
    };
    const move = moves[event.key];
    if (move) setCursor((old) => (old < 0 ? 0 : neighbour(layout, Math.min(old, model.total - 1), ...move)));
    else if (event.key === "Home") setCursor(0);
    else if (event.key === "End") setCursor(model.total - 1);
    else if (event.key === "Enter" && cursor >= 0) onOpen(model.nodes[model.owner[cursor]!]!.id);
    else return;
    event.preventDefault();
  }

  function at(event: React.MouseEvent): number {
    const box = canvas.current!.getBoundingClientRect();
    return layout.hit(event.clientX - box.left, event.clientY - box.top);
  }

  return (
    <div className={classes.frame}>
      <div ref={frame} className={classes.inner} />
      <div
        className={classes.map}
        role="application"
        aria-label={t("cluster.mapLabel", { nodes: model.nodes.length, chips: model.total })}
        aria-describedby="map-help"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys walk through the chips
        tabIndex={0}
        style={{ height: layout.height }}
        onKeyDown={pressed}
        onFocus={(event) => event.target.matches(":focus-visible") && setCursor((old) => Math.max(old, 0))}
        onBlur={() => setCursor(-1)}
        onMouseMove={(event) => setHovered(at(event))}
        onMouseLeave={() => setHovered(-1)}
        onClick={(event) => at(event) >= 0 && onOpen(model.nodes[model.owner[at(event)]!]!.id)}
      >
        <canvas ref={canvas} aria-hidden style={{ width: layout.width, height: layout.height }} />
        <SelectedNode model={model} layout={layout} id={selected} />
        {shown >= 0 && shown < model.total && (
          <Marker model={model} layout={layout} chip={shown} value={values[shown]!} by={by} />
        )}
      </div>
      <p id="map-help" className="visually-hidden">
        {t("cluster.mapHelp")}
      </p>
      <p className="visually-hidden" aria-live="polite">
        {cursor >= 0 && cursor < model.total ? said(model, cursor, values[cursor]!, by, t) : ""}
      </p>
    </div>
  );
}

function prepared(canvas: HTMLCanvasElement | null, layout: Layout): CanvasRenderingContext2D | null {
  const context = canvas?.getContext("2d") ?? null;
  if (!canvas || !context) return null;
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(layout.width * ratio), Math.round(layout.height * ratio)];
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

function useWidth(frame: React.RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(1000);
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const measure = () => setWidth(Math.max(260, element.clientWidth));
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(element);
    return () => watch.disconnect();
  }, [frame]);
  return width;
}

function useTheme(frame: React.RefObject<HTMLElement | null>): Theme {
  const scheme = useComputedColorScheme();
  const [theme, setTheme] = useState<Theme | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the colours are read again when the theme changes
  useEffect(() => {
    const styles = getComputedStyle(frame.current ?? document.body);
    const of = (name: string) => styles.getPropertyValue(name).trim() || "#888888";
    setTheme({
      surface: of("--surface"),
      line: of("--line"),
      text: of("--text"),
      quiet: of("--text-2"),
      mark: of("--status-preempted"),
      unknown: of("--bar-track"),
      font: styles.fontFamily || "sans-serif",
    });
  }, [scheme, frame]);
  return theme ?? PLAIN;
}

const PLAIN: Theme = {
  surface: "#ffffff",
  line: "#dfe3e8",
  text: "#14181f",
  quiet: "#4a5361",
  mark: "#b04a00",
  unknown: "#e4e8ee",
  font: "sans-serif",
};

function SelectedNode({
  model,
  layout,
  id,
}: {
  model: ClusterModel;
  layout: Layout;
  id: string | undefined;
}) {
  const index = model.nodes.findIndex((node) => node.id === id);
  const node = model.nodes[index];
  if (!node || node.chips.length === 0) return null;
  const from = layout.place(model.first[index]!);
  const cells = layout.kind === "cells" ? layout.frames.find((frame) => frame.index === index) : undefined;
  const box = cells ?? { ...from, w: from.w * node.chips.length };
  return <span className={classes.node} style={{ left: box.x, top: box.y, width: box.w, height: box.h }} />;
}

type MarkerProps = { model: ClusterModel; layout: Layout; chip: number; value: number; by: ColourBy };

function Marker({ model, layout, chip, value, by }: MarkerProps) {
  const { t } = useTranslation();
  const { x, y, w, h } = layout.place(chip);
  const node = model.nodes[model.owner[chip]!]!;
  const one = node.chips[chip - model.first[model.owner[chip]!]!]!;
  const left = x > layout.width - 250;
  const above = y > layout.height - 120;
  return (
    <>
      <span className={classes.mark} style={{ left: x - 2, top: y - 2, width: w + 4, height: h + 4 }} />
      <div
        className={classes.tip}
        style={{
          [left ? "right" : "left"]: left ? layout.width - x + 8 : x + w + 10,
          [above ? "bottom" : "top"]: above ? layout.height - y + 8 : y + h + 10,
        }}
        aria-hidden
      >
        <strong>
          {node.name} · {t("chips.chip", { index: one.index })}
        </strong>
        <span>{written(value, by, t)}</span>
        <span>
          {one.type} · {node.topology?.at(-1) ?? node.pool}
        </span>
        {one.job && <span>{one.job.name}</span>}
        {node.simulated && <em>{t("cluster.simulated")}</em>}
      </div>
    </>
  );
}

type Translate = (key: string, values?: { [name: string]: unknown }) => string;

function written(value: number, by: ColourBy, t: Translate): string {
  if (value === OFFLINE) return t("cluster.offline");
  if (value === UNKNOWN) return t("cluster.unknown");
  if (by === "health")
    return t(value >= 1000 ? "cluster.broken" : value >= 500 ? "cluster.away" : "cluster.fine");
  if (by === "temperature") return `${Math.round(COLDEST_C + (value * (HOTTEST_C - COLDEST_C)) / 1000)} °C`;
  return t(`cluster.said.${by}`, { share: percent(value) });
}

function said(model: ClusterModel, chip: number, value: number, by: ColourBy, t: Translate): string {
  const index = model.owner[chip]!;
  const node = model.nodes[index]!;
  const one = node.chips[chip - model.first[index]!]!;
  const parts = [
    node.name,
    t("chips.chip", { index: one.index }),
    written(value, by, t),
    one.job?.name,
    node.simulated && t("cluster.simulated"),
  ];
  return parts.filter(Boolean).join(", ");
}
