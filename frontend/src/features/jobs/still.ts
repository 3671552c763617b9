/** Keeps a list from jumping under somebody's hand. */

type Row = { id: string };

/** `added` counts rows that would push in above; `gone` are the ids of held rows that no longer match. */
export type Still<R> = { rows: R[]; added: number; gone: string[] };

/** `held` in its order, each row with its content in `newest`. Rows that follow the last held one are appended. */
export function keepStill<R extends Row>(held: R[], newest: R[]): Still<R> {
  const now = new Map(newest.map((row) => [row.id, row]));
  const known = new Set(held.map((row) => row.id));
  const last = newest.findLastIndex((row) => known.has(row.id));
  const unknown = newest.filter((row) => !known.has(row.id));
  const below = last < 0 ? [] : newest.slice(last + 1);
  return {
    rows: [...held.map((row) => now.get(row.id) ?? row), ...below],
    added: unknown.length - below.length,
    gone: held.filter((row) => !now.has(row.id)).map((row) => row.id),
  };
}
