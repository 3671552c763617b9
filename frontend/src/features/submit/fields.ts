/** How fields of the form stand in a spec, there and back. */

export type Chips = {
  type: string;
  count: number;
  /** Whether the form can write it; else it only shows what is asked for. */
  plain: boolean;
};

/** "H100:8" or {H100: 8} as type and count; "8" is a count of any type. Other forms as they are said. */
export function readAccelerators(value: unknown): Chips {
  if (Array.isArray(value)) {
    return { type: value.map((one) => said(readAccelerators(one))).join(" | "), count: 0, plain: false };
  }
  if (typeof value === "object" && value !== null) return readMapping(value as { [key: string]: unknown });
  const text = typeof value === "number" ? String(value) : typeof value === "string" ? value : "";
  const [first = "", second] = text.split(":");
  if (second !== undefined) return { type: first, count: Number.parseInt(second, 10) || 1, plain: true };
  return /^\d+$/.test(first)
    ? { type: "", count: Number(first), plain: true }
    : { type: first, count: first ? 1 : 0, plain: true };
}

function readMapping(value: { [key: string]: unknown }): Chips {
  if ("vendor" in value || "memory" in value) {
    const type = [value.vendor, value.memory].filter(Boolean).map(String).join(" ");
    return { type, count: Number(value.count ?? 1) || 1, plain: false };
  }
  const [first] = Object.entries(value);
  return first
    ? { type: first[0], count: Number(first[1]) || 1, plain: true }
    : { type: "", count: 0, plain: true };
}

const said = ({ type, count }: Chips) => `${type}:${count}`;

/** The spec's word for `count` chips of `type`; undefined for none. */
export function writeAccelerators(type: string, count: number): string | number | undefined {
  if (count <= 0 || !type) return undefined;
  return `${type}:${count}`;
}

/** One line per command; a list in the spec, whatever the user wrote. */
export function readCommands(value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join("\n");
  return typeof value === "string" ? value : "";
}

export function writeCommands(text: string): string[] | undefined {
  const lines = text.split("\n");
  while (lines.length > 0 && lines.at(-1)?.trim() === "") lines.pop();
  return lines.length > 0 ? lines : undefined;
}

/** A mapping as "NAME=value" lines. */
export function readPairs(value: unknown): string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "";
  return Object.entries(value)
    .map(([name, one]) => `${name}=${one}`)
    .join("\n");
}

export function writePairs(text: string): { [name: string]: string } | undefined {
  const pairs = text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .map((line): [string, string] => {
      const at = line.indexOf("=");
      return at < 0 ? [line, ""] : [line.slice(0, at).trim(), line.slice(at + 1)];
    });
  return pairs.length > 0 ? Object.fromEntries(pairs) : undefined;
}

/** Secrets whose variables are called as they are; null where the spec says otherwise, which stays in the YAML. */
export function readSecrets(value: unknown): string[] | null {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value.map(String) : null;
}

/** The text of a plain value, empty for everything that is none. */
export function readPlain(value: unknown): string {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : "";
}

/** Numbers stay numbers, "60GB" stays text. */
export function writePlain(text: string): string | number | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  return /^-?\d+(\.\d+)?$/.test(trimmed) ? Number(trimmed) : trimmed;
}
