/** How quantities are written, everywhere. Whole numbers in, text out; nothing here knows a noun. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const significant = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });

export const NOTHING = "—";
/** Money comes in millionths of the currency. */
export const MICRO = 1_000_000;

export function count(value: number): string {
  return whole.format(value);
}

/** Any number in at most five digits: 0.00031415 → "0.00031415", 12345.678 → "12,346". */
export function figure(value: number | null | undefined): string {
  return value === null || value === undefined ? NOTHING : significant.format(value);
}

/** Thousandths as a number: 1500 → "1.5". */
export function milli(value: number): string {
  return fine.format(value / 1000);
}

/** Permille as a percentage without decimals: 493 → "49 %". */
export function percent(permille: number | null | undefined): string {
  return permille === null || permille === undefined ? NOTHING : `${whole.format(permille / 10)} %`;
}

/** Mebibytes in the largest fitting unit: 81920 → "80 GiB". */
export function memory(mib: number | null | undefined): string {
  if (mib === null || mib === undefined) return NOTHING;
  if (mib >= 1024 * 1024) return `${fine.format(mib / 1024 / 1024)} TiB`;
  if (mib >= 1024)
    return `${new Intl.NumberFormat("en", { maximumFractionDigits: 1 }).format(mib / 1024)} GiB`;
  return `${whole.format(mib)} MiB`;
}

export function bytes(value: number): string {
  if (value >= 1 << 20) return memory(value / (1 << 20));
  return value >= 1024 ? `${whole.format(value / 1024)} KiB` : `${whole.format(value)} B`;
}

const UNITS: readonly [number, string][] = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1000, "s"],
];

/** A length of time by its two largest units: "3 h 12 min", "840 ms"; negative ones count as none. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return NOTHING;
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)} s`;
  const at = UNITS.findIndex(([size]) => ms >= size);
  const [size, word] = UNITS[at]!;
  const first = `${Math.floor(ms / size)} ${word}`;
  const next = UNITS[at + 1];
  const rest = next ? Math.floor((ms % size) / next[0]) : 0;
  return next && rest > 0 ? `${first} ${rest} ${next[1]}` : first;
}

export function ago(at: string | null | undefined, now: number): string {
  if (!at) return NOTHING;
  const ms = now - Date.parse(at);
  return ms < 5000 ? "just now" : `${duration(ms).split(" ").slice(0, 2).join(" ")} ago`;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export function timeOfDay(at: string | number): string {
  return clock.format(new Date(at));
}

export function dateTime(at: string | null | undefined): string {
  return at ? full.format(new Date(at)) : NOTHING;
}
