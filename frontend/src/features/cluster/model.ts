/** The cluster as arrays: chips have a place in one long row, and each view colours that row by values. */

import type { Chip, Node } from "../../api/types";

/** A chip whose health is below is shown as weak (T4). */
const WEAK_BELOW = 90;

export type ColourBy = "use" | "memory" | "allocated" | "temperature" | "health";
export const COLOURS: readonly ColourBy[] = ["use", "memory", "allocated", "temperature", "health"];

export type Rack = { name: string; nodes: number[] };

export type ClusterModel = {
  nodes: Node[];
  racks: Rack[];
  /** Chips stand in the order of the racks; `first[n]` is the place of node n's first chip. */
  first: number[];
  /** The node of each chip. */
  owner: Int32Array;
  total: number;
  widest: number;
};

/** Permille of the scale; the two above mark what has no value. */
export const OFFLINE = 2001;
export const UNKNOWN = 2000;
/** Below this a chip counts as idle, in permille. */
export const IDLE_PERMILLE = 50;
/** Nodes without a rack are shown in blocks of this many. */
const BLOCK = 32;
/** The scale of temperatures in °C. */
export const COLDEST_C = 25;
export const HOTTEST_C = 95;

export function modelOf(all: Node[]): ClusterModel {
  const nodes = [...all].sort((a, b) => a.pool.localeCompare(b.pool) || byName(a.name, b.name));
  const racks = racksOf(nodes);
  const first: number[] = new Array(nodes.length).fill(0);
  const owner = new Int32Array(nodes.reduce((sum, node) => sum + node.chips.length, 0));
  let place = 0;
  for (const rack of racks) {
    for (const index of rack.nodes) {
      const chips = nodes[index]!.chips.length;
      first[index] = place;
      owner.fill(index, place, place + chips);
      place += chips;
    }
  }
  const widest = nodes.reduce((most, node) => Math.max(most, node.chips.length), 1);
  return { nodes, racks, first, owner, total: place, widest };
}

const order = new Intl.Collator("en", { numeric: true });

function byName(a: string, b: string): number {
  return order.compare(a, b);
}

function racksOf(nodes: Node[]): Rack[] {
  const racks = new Map<string, Rack>();
  const seen = new Map<string, number>();
  nodes.forEach((node, index) => {
    const count = seen.get(node.pool) ?? 0;
    seen.set(node.pool, count + 1);
    const name = node.topology?.at(-1) ?? `${node.pool} ${Math.floor(count / BLOCK) + 1}`;
    const key = `${node.pool}/${name}`;
    const rack = racks.get(key) ?? { name, nodes: [] };
    rack.nodes.push(index);
    racks.set(key, rack);
  });
  return [...racks.values()].sort(
    (a, b) => byName(nodes[a.nodes[0]!]!.pool, nodes[b.nodes[0]!]!.pool) || byName(a.name, b.name),
  );
}

/** One value per chip, in the order of the model. `live` gives this second's use of a node, if known. */
export function valuesOf(
  model: ClusterModel,
  by: ColourBy,
  live: (node: string) => (number | null)[] | undefined,
): Uint16Array {
  const values = new Uint16Array(model.total);
  model.nodes.forEach((node, index) => {
    const first = model.first[index]!;
    const now = by === "use" ? live(node.id) : undefined;
    const offline = node.contact === "unreachable" || node.state === "dead";
    node.chips.forEach((chip, at) => {
      values[first + at] = offline ? OFFLINE : shadeOf(chip, node, by, now?.[chip.index]);
    });
  });
  return values;
}

function shadeOf(chip: Chip, node: Node, by: ColourBy, now: number | null | undefined): number {
  switch (by) {
    case "use":
      return now === null ? OFFLINE : clamp(now ?? chip.use_permille);
    case "memory":
      return clamp(
        chip.live_memory_mib === null ? null : (1000 * chip.live_memory_mib) / Math.max(1, chip.memory_mib),
      );
    case "allocated":
      return clamp(chip.used_milli);
    case "temperature":
      return clamp(
        chip.temperature_c === null
          ? null
          : (1000 * (chip.temperature_c - COLDEST_C)) / (HOTTEST_C - COLDEST_C),
      );
    case "health":
      return !chip.healthy ? 1000 : node.state === "ready" && chip.health >= WEAK_BELOW ? 0 : 500;
  }
}

function clamp(value: number | null): number {
  return value === null ? UNKNOWN : Math.round(Math.min(1000, Math.max(0, value)));
}

export type Tally = { busy: number; idle: number; offline: number; mean_permille: number | null };

/** What the map shows, in four numbers; they always agree with the picture. */
export function tally(values: Uint16Array): Tally {
  let busy = 0;
  let idle = 0;
  let offline = 0;
  let sum = 0;
  for (const value of values) {
    if (value === OFFLINE) offline += 1;
    else if (value === UNKNOWN || value < IDLE_PERMILLE) idle += 1;
    else busy += 1;
    if (value <= 1000) sum += value;
  }
  const known = values.length - offline;
  return { busy, idle, offline, mean_permille: known > 0 ? sum / known : null };
}

/** True of a chip that takes no new work. */
export function isOut(chip: Chip): boolean {
  return chip.state !== "in_service" || !chip.healthy;
}

export function stateOf(chip: Chip): string {
  if (chip.state !== "in_service") return chip.state;
  return chip.healthy ? "ready" : "offline";
}
