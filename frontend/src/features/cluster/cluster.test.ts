import { expect, test } from "vitest";
import { World } from "../../testing/world";
import { layoutOf, neighbour } from "./layout";
import { modelOf, OFFLINE, tally, valuesOf } from "./model";

const small = modelOf(new World().nodes);
const large = modelOf(new World({ nodes: 700, chips: 8, jobs: 4 }).nodes);

test("every chip has one place, and that place leads back to it", () => {
  for (const [model, width] of [
    [small, 1100],
    [small, 300],
    [large, 1100],
  ] as const) {
    const layout = layoutOf(model, width, 600);
    for (let chip = 0; chip < model.total; chip += 1) {
      const { x, y, w, h } = layout.place(chip);
      expect(layout.hit(x + w / 2, y + h / 2)).toBe(chip);
      expect(x + w).toBeLessThanOrEqual(width + 0.5);
      expect(y + h).toBeLessThanOrEqual(layout.height + 0.5);
    }
    expect(layout.hit(-5, -5)).toBe(-1);
  }
  expect(layoutOf(small, 1100, 600).kind).toBe("cells");
  expect(layoutOf(large, 1100, 600).kind).toBe("racks");
});

test("the arrow keys reach every chip of a row and stop at the edge", () => {
  const layout = layoutOf(small, 1100, 600);
  let chip = 0;
  const seen = new Set([0]);
  for (let step = 0; step < 100; step += 1) {
    const next = neighbour(layout, chip, 1, 0);
    if (next === chip) break;
    chip = next;
    seen.add(chip);
  }
  const row = Array.from({ length: small.total }, (_, one) => one).filter(
    (one) => layout.place(one).y === layout.place(0).y,
  );
  expect([...seen].sort((a, b) => a - b)).toEqual(row);
  expect(neighbour(layout, chip, 1, 0)).toBe(chip);
});

test("offline is not idle, and live use goes before what was read", () => {
  const world = new World({ nodes: 2, chips: 2, jobs: 1 });
  const [first, second] = world.nodes;
  first!.contact = "ok";
  second!.contact = "unreachable";
  const model = modelOf(world.nodes);
  const values = valuesOf(model, "use", (node) => (node === first!.id ? [0, 730] : undefined));
  expect([...values].sort((a, b) => a - b)).toEqual([0, 730, OFFLINE, OFFLINE]);
  expect(tally(values)).toEqual({ busy: 1, idle: 1, offline: 2, mean_permille: 365 });
});

test("a node without chips takes no place among them", () => {
  const world = new World({ nodes: 3, chips: 2, jobs: 1 });
  world.nodes[1]!.chips = [];
  const model = modelOf(world.nodes);
  expect(model.total).toBe(4);
  expect(layoutOf(model, 800, 600).frames).toHaveLength(3);
});
