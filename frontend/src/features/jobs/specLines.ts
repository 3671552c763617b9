import type { Spec } from "../../api/types";

/** The order in which people read a spec; what is not named here follows. */
const ORDER = [
  "name",
  "team",
  "type",
  "array",
  "commands",
  "working_dir",
  "files",
  "env",
  "secrets",
  "resources",
  "nodes",
  "replicas",
  "spread",
];

/** The spec in reading order, without what says nothing. */
export function readable(spec: Spec): Spec {
  const place = (key: string) => (ORDER.includes(key) ? ORDER.indexOf(key) : ORDER.length);
  const kept = Object.entries(spec).filter(([, value]) => !isEmpty(value));
  return Object.fromEntries(kept.sort(([a], [b]) => place(a) - place(b) || a.localeCompare(b)));
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === "") return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

export type SpecLine = { line: string; added: boolean };

/** The lines of `effective`; those that `submitted` does not have are marked as added. Repeated lines count one by one. */
export function markAdded(submitted: string, effective: string): SpecLine[] {
  const left = new Map<string, number>();
  for (const line of submitted.trimEnd().split("\n")) left.set(line, (left.get(line) ?? 0) + 1);
  return effective
    .trimEnd()
    .split("\n")
    .map((line) => {
      const known = left.get(line) ?? 0;
      if (known > 0) left.set(line, known - 1);
      return { line, added: known === 0 };
    });
}
