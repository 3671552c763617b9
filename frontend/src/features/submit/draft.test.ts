import { expect, test } from "vitest";
import { asCli, asCurl } from "./commands";
import { draftOf, patched, restored, valueAt, withField, withText } from "./draft";
import {
  readAccelerators,
  readPairs,
  writeAccelerators,
  writeCommands,
  writePairs,
  writePlain,
} from "./fields";
import { TEMPLATES } from "./templates";

const YAML = "# mine\nname: train   # short\nresources:\n  accelerators: H100:8\nlease: never\n";

test("a field changes the text and nothing else in it", () => {
  const draft = withField(draftOf(YAML), ["name"], "eval");
  expect(draft.text).toBe("# mine\nname: eval # short\nresources:\n  accelerators: H100:8\nlease: never\n");
  expect(draft.spec).toEqual({ name: "eval", resources: { accelerators: "H100:8" }, lease: "never" });
});

test("a patch changes field by field, and keeps comments and what it does not name", () => {
  const draft = patched(draftOf(`${YAML}fraction: 0.5\n`), {
    resources: { accelerators: "A100:4", cpus: 2 },
    nodes: { min: 2, max: 8 },
    fraction: null,
  });
  expect(draft.text).toBe(
    "# mine\nname: train # short\nresources:\n  accelerators: A100:4\n  cpus: 2\nlease: never\nnodes:\n  min: 2\n  max: 8\n",
  );
  expect(patched(draftOf("nodes: 4\n"), { nodes: { min: 1, max: 4 } }).spec).toEqual({
    nodes: { min: 1, max: 4 },
  });
});

test("a removed field takes the mapping along that it leaves empty", () => {
  expect(withField(draftOf(YAML), ["resources", "accelerators"], undefined).spec).toEqual({
    name: "train",
    lease: "never",
  });
  expect(withField(draftOf(YAML), ["env", "A"], undefined).text).toBe(draftOf(YAML).text);
});

test("nested fields make the mappings they need, also in an empty text", () => {
  const draft = withField(draftOf(""), ["resources", "fraction"], 0.5);
  expect(draft.spec).toEqual({ resources: { fraction: 0.5 } });
  expect(draft.text).toBe("resources:\n  fraction: 0.5\n");
});

test("a text that does not parse never erases the form", () => {
  const good = draftOf(YAML);
  const broken = withText(good, "name: [train\nresources:\n");
  expect(broken.trouble?.line).toBeGreaterThan(0);
  expect(broken.spec).toEqual(good.spec);
  expect(broken.text).toBe("name: [train\nresources:\n");
  expect(withText(good, "- a\n- list\n").spec).toEqual(good.spec);
  expect(withText(good, "a: 1\na: 2\n").trouble).not.toBeNull();
});

test("a change of the form while the text is broken keeps both", () => {
  const broken = withText(draftOf(YAML), "name: [");
  const changed = withField(broken, ["name"], "kept");
  expect(changed.text).toBe("name: [");
  expect(changed.spec.name).toBe("kept");
  expect(changed.trouble).not.toBeNull();
  expect(restored(changed)).toMatchObject({ trouble: null, text: changed.good });
  expect(withText(changed, YAML)).toMatchObject({ trouble: null, spec: { name: "train" } });
});

test("form and text agree after any change of either", () => {
  let draft = draftOf(YAML);
  for (const value of ["a", "yes", "12", "a: b", "# no comment", "'quoted'", "ü\n"]) {
    draft = withField(draft, ["name"], value);
    expect(draftOf(draft.text).spec).toEqual(draft.spec);
    expect(valueAt(draft.spec, ["name"])).toBe(value);
  }
});

test("fields go there and back", () => {
  expect(readAccelerators("H100-80GB:8")).toEqual({ type: "H100-80GB", count: 8, plain: true });
  expect(readAccelerators({ "H100-80GB": 8 })).toEqual({ type: "H100-80GB", count: 8, plain: true });
  const fits = { vendor: "nvidia", memory: "40GB..", count: 2 };
  expect(readAccelerators(fits)).toEqual({ type: "nvidia 40GB..", count: 2, plain: false });
  expect(readAccelerators(["H100:8", fits])).toEqual({
    type: "H100:8 | nvidia 40GB..:2",
    count: 0,
    plain: false,
  });
  expect(readAccelerators(undefined)).toEqual({ type: "", count: 0, plain: true });
  expect(writeAccelerators("H100", 2)).toBe("H100:2");
  expect(writeAccelerators("", 2)).toBeUndefined();
  expect(writeCommands("a\nb\n\n")).toEqual(["a", "b"]);
  expect(writeCommands(" \n")).toBeUndefined();
  expect(readPairs(writePairs("A=1\nB=x=y\n"))).toBe("A=1\nB=x=y");
  expect(writePlain("2")).toBe(2);
  expect(writePlain("60GB")).toBe("60GB");
});

test("every template is a spec that parses", () => {
  for (const { yaml } of TEMPLATES) {
    const draft = draftOf(yaml("nlp", "H100-80GB"));
    expect(draft.trouble).toBeNull();
    expect(draft.spec).toMatchObject({ team: "nlp", commands: expect.any(Array) });
  }
});

test("copied commands survive quotes", () => {
  const spec = { name: "it's" };
  expect(asCurl(spec, "http://h")).toContain(`"it'\\''s"`);
  expect(asCli("a: 1\nEOF\nb: 2\n")).toContain("<<'END_OF_JOB'");
});
