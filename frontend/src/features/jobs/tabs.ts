/** The tabs over the list: each is a filter of the server, so each can be sent as an address. */

export type Tab = { key: string; statuses: readonly string[] };

export const TABS: readonly Tab[] = [
  { key: "all", statuses: [] },
  { key: "running", statuses: ["running", "starting", "stopping", "cancelling", "unreachable"] },
  { key: "queued", statuses: ["queued", "held"] },
  { key: "suspended", statuses: ["suspended"] },
  { key: "failed", statuses: ["failed", "timed_out"] },
  { key: "succeeded", statuses: ["succeeded"] },
  { key: "cancelled", statuses: ["cancelled"] },
];

/** The tab whose filter `status` is; empty when the address holds a filter of its own. */
export function tabOf(status: string | undefined): string {
  const wanted = (status ?? "").split(",").filter(Boolean).sort().join();
  const found = TABS.find(({ statuses }) => [...statuses].sort().join() === wanted);
  if (found) return found.key;
  const single = TABS.find(({ statuses }) => statuses[0] === status);
  return single?.key ?? "";
}
