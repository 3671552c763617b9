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
