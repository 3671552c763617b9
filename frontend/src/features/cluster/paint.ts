/** Draws the chip map. Many chips: one pixel each into ImageData, then one unsmoothed drawImage per rack. */

import { cividis, cividisWord, readableOn } from "../../ui/cividis";
import type { Layout } from "./layout";
import { type ClusterModel, type ColourBy, OFFLINE, UNKNOWN } from "./model";

export type Theme = {
  surface: string;
  line: string;
  text: string;
  quiet: string;
  mark: string;
  unknown: string;
  font: string;
};

const HEALTH = { fine: "#3f7f6b", away: "#8b6fc9", broken: "#e0483e" };
export const HEALTH_COLOURS = HEALTH;

/** Index 0–1000 is the scale, then "unknown" and "offline"; words for ImageData. */
function tableOf(by: ColourBy, theme: Theme): Uint32Array {
  const table = new Uint32Array(OFFLINE + 1);
  for (let value = 0; value <= 1000; value += 1)
    table[value] = by === "health" ? word(healthOf(value)) : cividisWord(value);
  table[UNKNOWN] = word(theme.unknown);
  table[OFFLINE] = word("#000000");
  return table;
}

function healthOf(value: number): string {
  return value >= 1000 ? HEALTH.broken : value >= 500 ? HEALTH.away : HEALTH.fine;
}

function colourOf(value: number, by: ColourBy, theme: Theme): string {
  if (value === OFFLINE) return "#000000";
  if (value === UNKNOWN) return theme.unknown;
  return by === "health" ? healthOf(value) : cividis(value);
}

function word(colour: string): number {
  const value = Number.parseInt(colour.slice(1, 7), 16);
  return ((255 << 24) | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

type Scene = { model: ClusterModel; layout: Layout; values: Uint16Array; by: ColourBy; theme: Theme };

/** Draw everything; the context is already scaled to CSS pixels. */
export function paint(context: CanvasRenderingContext2D, scene: Scene): void {
  context.clearRect(0, 0, scene.layout.width, scene.layout.height);
  if (scene.layout.kind === "cells") paintCells(context, scene);
  else paintRacks(context, scene);
}

function paintRacks(context: CanvasRenderingContext2D, { model, layout, values, by, theme }: Scene): void {
  const table = tableOf(by, theme);
  const sheet = document.createElement("canvas");
  const pen = sheet.getContext("2d");
  if (!pen) return;
  context.imageSmoothingEnabled = false;
  for (const frame of layout.frames) {
    const rack = model.racks[frame.index]!;
    sheet.width = model.widest;
    sheet.height = rack.nodes.length;
    const image = pen.createImageData(sheet.width, sheet.height);
    const pixels = new Uint32Array(image.data.buffer);
    rack.nodes.forEach((node, row) => {
      const first = model.first[node]!;
      const chips = model.nodes[node]!.chips.length;
      for (let chip = 0; chip < chips; chip += 1)
        pixels[row * sheet.width + chip] = table[values[first + chip]!]!;
    });
    pen.putImageData(image, 0, 0);
    context.drawImage(sheet, frame.x, frame.y, frame.w, frame.h);
  }
}

const TEXT_FROM_PX = 34;

function paintCells(context: CanvasRenderingContext2D, { model, layout, values, by, theme }: Scene): void {
  context.textBaseline = "middle";
  for (const frame of layout.frames) {
    const node = model.nodes[frame.index]!;
    context.strokeStyle = theme.line;
    context.lineWidth = 1;
    context.beginPath();
    context.roundRect(frame.x + 0.5, frame.y + 0.5, frame.w - 1, frame.h - 1, 8);
    context.stroke();
    paintLabel(context, node.name, node.simulated, frame, theme);
  }
  for (let chip = 0; chip < model.total; chip += 1) {
    const { x, y, w, h } = layout.place(chip);
    const colour = colourOf(values[chip]!, by, theme);
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(x, y, w, h, Math.min(6, h / 6));
    context.fill();
    if (values[chip] === OFFLINE) paintCross(context, x, y, w, h);
    else if (h >= TEXT_FROM_PX && by !== "health" && values[chip] !== UNKNOWN) {
      context.fillStyle = readableOn(colour);
      context.font = `600 ${h >= 48 ? 13 : 11.5}px ${theme.font}`;
      context.textAlign = "center";
      context.fillText(textOf(values[chip]!, by), x + w / 2, y + h / 2 + 0.5);
    }
  }
}

function textOf(value: number, by: ColourBy): string {
  return by === "temperature" ? `${Math.round(25 + (value * 70) / 1000)}°` : `${Math.round(value / 10)}`;
}

function paintCross(context: CanvasRenderingContext2D, x: number, y: number, w: number, h: number): void {
  const reach = Math.min(w, h) * 0.17;
  context.strokeStyle = "#8b96a5";
  context.lineWidth = Math.max(1, Math.min(w, h) / 26);
  context.beginPath();
  const [cx, cy] = [x + w / 2, y + h / 2];
  context.moveTo(cx - reach, cy - reach);
  context.lineTo(cx + reach, cy + reach);
  context.moveTo(cx + reach, cy - reach);
  context.lineTo(cx - reach, cy + reach);
  context.stroke();
}

const SIMULATED = "simulated";

function paintLabel(
  context: CanvasRenderingContext2D,
  name: string,
  simulated: boolean,
  frame: { x: number; y: number; w: number },
  theme: Theme,
): void {
  const right = frame.x + frame.w - 12;
  context.textAlign = "left";
  context.font = `600 10.5px ${theme.font}`;
  const badge = frame.w > 190 ? SIMULATED : "sim";
  const badgeWidth = simulated ? context.measureText(badge).width + 12 : 0;
  if (simulated) {
    context.strokeStyle = theme.mark;
    context.beginPath();
    context.roundRect(right - badgeWidth + 0.5, frame.y + 10.5, badgeWidth - 1, 15, 7);
    context.stroke();
    context.fillStyle = theme.mark;
    context.fillText(badge, right - badgeWidth + 6, frame.y + 18.5);
  }
  context.font = `600 12.5px ${theme.font}`;
  context.fillStyle = theme.text;
  context.fillText(shortened(context, name, frame.w - 24 - badgeWidth - 6), frame.x + 12, frame.y + 18);
}

function shortened(context: CanvasRenderingContext2D, name: string, room: number): string {
  if (context.measureText(name).width <= room) return name;
  let kept = name;
  while (kept.length > 1 && context.measureText(`${kept}…`).width > room) kept = kept.slice(0, -1);
  return `${kept}…`;
}
