/** Utilisation as colour: cividis, the same to every eye. */

const STOPS = [
  0x00224e, 0x123570, 0x3b496c, 0x575d6d, 0x707173, 0x8a8678, 0xa59c74, 0xc3b369, 0xe1cc55, 0xf4dc45,
  0xfee838,
] as const;

type Rgb = [number, number, number];

function rgb(permille: number): Rgb {
  const place = (Math.min(1000, Math.max(0, permille)) / 1000) * (STOPS.length - 1);
  const index = Math.min(STOPS.length - 2, Math.floor(place));
  const low = STOPS[index]!;
  const high = STOPS[index + 1]!;
  const mix = (shift: number) => {
    const from = (low >> shift) & 255;
    return Math.round(from + (((high >> shift) & 255) - from) * (place - index));
  };
  return [mix(16), mix(8), mix(0)];
}

export function cividis(permille: number): string {
  return hex(rgb(permille));
}

/** The colour as one little-endian RGBA word, as ImageData wants it. */
export function cividisWord(permille: number): number {
  const [red, green, blue] = rgb(permille);
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

export const CIVIDIS_GRADIENT = `linear-gradient(90deg, ${STOPS.map((_, index) => cividis(index * 100)).join(", ")})`;

/** Black or white, whichever stands out more on `ground` ("#rrggbb"). */
export function readableOn(ground: string): string {
  const value = Number.parseInt(ground.slice(1), 16);
  const luminance = [16, 8, 0].map((shift) => channel(((value >> shift) & 255) / 255));
  const light = 0.2126 * luminance[0]! + 0.7152 * luminance[1]! + 0.0722 * luminance[2]!;
  return light > 0.179 ? "#000000" : "#ffffff";
}

function channel(value: number): number {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

function hex(parts: Rgb): string {
  return `#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}
