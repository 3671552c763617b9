/** Where each chip stands on the canvas: roomy cells while there are few chips, racks of small ones when there are many. */

import type { ClusterModel } from "./model";

export type Rect = { x: number; y: number; w: number; h: number };

export type Layout = {
  kind: "cells" | "racks";
  width: number;
  height: number;
  /** Side of a cell in `cells`, 0 in `racks`. */
  cell: number;
  /** The frame of each node (`cells`) or rack (`racks`). */
  frames: (Rect & { index: number })[];
  place: (chip: number) => Rect;
  /** The chip at a point, -1 for none. */
  hit: (x: number, y: number) => number;
};

/** Up to this many chips each gets a cell of its own size; beyond, racks are drawn pixel by pixel. */
export const MOST_CELLS = 2000;
const SIZES = [64, 56, 48, 40, 34, 28, 22, 18, 14, 11, 9];
const ACROSS = 8;
const GAP = 3;
const NODE_GAP = 16;
const LABEL = 22;
const PADDING = 12;

export function layoutOf(model: ClusterModel, width: number, tallest: number): Layout {
  return model.total <= MOST_CELLS ? cellsOf(model, width, tallest) : racksOf(model, width, tallest);
}

function cellsOf(model: ClusterModel, width: number, tallest: number): Layout {
  for (const size of SIZES) {
    const layout = flow(model, width, size);
    if (layout.height <= tallest || size === SIZES.at(-1)) return layout;
  }
  return flow(model, width, 9);
}

/** Nodes of one width fill the line; a stretched node is at most this much wider than its cells need, in percent. */
const MOST_STRETCH = 160;

function flow(model: ClusterModel, width: number, size: number): Layout {
  const frames: Layout["frames"] = [];
  const step = size + GAP;
  const natural = (index: number) => {
    const across = Math.min(ACROSS, Math.max(1, model.nodes[index]!.chips.length));
    return Math.max(across * step - GAP, 110) + 2 * PADDING;
  };
  const stretch = stretchOf(model, width, natural);
  let [x, y, line] = [0, 0, 0];
  for (const index of model.racks.flatMap((rack) => rack.nodes)) {
    const chips = Math.max(1, model.nodes[index]!.chips.length);
    const w = Math.min(width, natural(index) * stretch(index));
    const h = Math.ceil(chips / ACROSS) * step - GAP + LABEL + 2 * PADDING;
    if (x > 0 && x + w > width + 0.5) {
      x = 0;
      y += line + NODE_GAP;
      line = 0;
    }
    frames.push({ index, x, y, w, h });
    x += w + NODE_GAP;
    line = Math.max(line, h);
  }
  const cell = (frame: Rect & { index: number }) => {
    const across = Math.min(ACROSS, Math.max(1, model.nodes[frame.index]!.chips.length));
    return (frame.w - 2 * PADDING - (across - 1) * GAP) / across;
  };
  const byNode = new Map(frames.map((frame) => [frame.index, frame]));
  const place = (chip: number): Rect => {
    const node = model.owner[chip]!;
    const frame = byNode.get(node)!;
    const at = chip - model.first[node]!;
    const w = cell(frame);
    return {
      x: frame.x + PADDING + (at % ACROSS) * (w + GAP),
      y: frame.y + PADDING + LABEL + Math.floor(at / ACROSS) * step,
      w,
      h: size,
    };
  };
  const hit = (px: number, py: number): number => {
    const frame = frames.find((one) => inside(one, px, py));
    if (!frame) return -1;
    const chips = model.nodes[frame.index]!.chips.length;
    const column = Math.floor((px - frame.x - PADDING) / (cell(frame) + GAP));
    const row = Math.floor((py - frame.y - PADDING - LABEL) / step);
    const at = row * ACROSS + column;
    return column >= 0 && column < ACROSS && row >= 0 && at < chips ? model.first[frame.index]! + at : -1;
  };
  return { kind: "cells", width, height: y + line, cell: size, frames, place, hit };
}

/** How much wider the nodes of the commonest width are drawn so that they fill the line; the others stay as they are. */
function stretchOf(
  model: ClusterModel,
  width: number,
  natural: (index: number) => number,
): (index: number) => number {
  const counts = new Map<number, number>();
  for (const index of model.nodes.keys()) counts.set(natural(index), (counts.get(natural(index)) ?? 0) + 1);
  const [common = 1, many = 1] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [];
  const across = Math.min(many, Math.max(1, Math.floor((width + NODE_GAP) / (common + NODE_GAP))));
  const stretch = Math.min(MOST_STRETCH / 100, (width - (across - 1) * NODE_GAP) / across / common);
  return (index) => (natural(index) === common ? stretch : 1);
}

const RACK_GAP = 4;
/** Height of a rack as a share of its width, in percent. */
const RACK_SHAPE = 92;

function racksOf(model: ClusterModel, width: number, tallest: number): Layout {
  const racks = model.racks.length;
  let across = 1;
  const sizeAt = (columns: number) => Math.max(4, (width - (columns - 1) * RACK_GAP) / columns);
  const heightAt = (columns: number) =>
    Math.ceil(racks / columns) * ((sizeAt(columns) * RACK_SHAPE) / 100 + RACK_GAP);
  while (across < racks && heightAt(across) > tallest) across += 1;
  const w = sizeAt(across);
  const h = (w * RACK_SHAPE) / 100;
  const frames = model.racks.map((_, index) => ({
    index,
    x: (index % across) * (w + RACK_GAP),
    y: Math.floor(index / across) * (h + RACK_GAP),
    w,
    h,
  }));
  const spot = new Map<number, { rack: number; row: number }>();
  model.racks.forEach((rack, index) => {
    for (const [row, node] of rack.nodes.entries()) spot.set(node, { rack: index, row });
  });
  const place = (chip: number): Rect => {
    const node = model.owner[chip]!;
    const { rack, row } = spot.get(node)!;
    const frame = frames[rack]!;
    const rows = model.racks[rack]!.nodes.length;
    const column = chip - model.first[node]!;
    return {
      x: frame.x + (column * w) / model.widest,
      y: frame.y + (row * h) / rows,
      w: w / model.widest,
      h: h / rows,
    };
  };
  const hit = (px: number, py: number): number => {
    const column = Math.floor(px / (w + RACK_GAP));
    const frame = frames[Math.floor(py / (h + RACK_GAP)) * across + column];
    if (!frame || column >= across || !inside(frame, px, py)) return -1;
    const rack = model.racks[frame.index]!;
    const node = rack.nodes[Math.floor(((py - frame.y) / h) * rack.nodes.length)];
    const at = Math.floor(((px - frame.x) / w) * model.widest);
    return node !== undefined && at < model.nodes[node]!.chips.length ? model.first[node]! + at : -1;
  };
  return {
    kind: "racks",
    width,
    height: Math.ceil(racks / across) * (h + RACK_GAP),
    cell: 0,
    frames,
    place,
    hit,
  };
}

function inside(rect: Rect, x: number, y: number): boolean {
  return x >= rect.x && x < rect.x + rect.w && y >= rect.y && y < rect.y + rect.h;
}

/** The chip one step away in a direction; the same chip at the edge. */
export function neighbour(layout: Layout, chip: number, dx: number, dy: number): number {
  const { x, y, w, h } = layout.place(chip);
  const reach = layout.kind === "cells" ? 400 : 60;
  for (let far = 1; far < reach; far += 1) {
    const stepX = dx * (w * 0.5 + far * Math.max(1, w * 0.5));
    const stepY = dy * (h * 0.5 + far * Math.max(1, h * 0.5));
    const found = layout.hit(x + w / 2 + stepX, y + h / 2 + stepY);
    if (found >= 0 && found !== chip) return found;
  }
  return chip;
}
