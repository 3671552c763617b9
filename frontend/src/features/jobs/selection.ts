import { useState } from "react";
import type { Selection } from "../../ui/DataTable";

/** The rows somebody has ticked. */
export function useSelection() {
  const [keys, setKeys] = useState<ReadonlySet<string>>(new Set());
  return {
    size: keys.size,
    has: (key: string) => keys.has(key),
    clear: () => setKeys(new Set()),
    of: (all: string[]): Selection => ({
      size: all.filter((key) => keys.has(key)).length,
      has: (key) => keys.has(key),
      toggle: (key) =>
        setKeys((old) =>
          old.has(key) ? new Set([...old].filter((one) => one !== key)) : new Set([...old, key]),
        ),
      all: () => setKeys((old) => (all.every((key) => old.has(key)) ? new Set() : new Set(all))),
    }),
  };
}
