/** The colours that programs write into their logs, as spans of text; everything else that steers a terminal is left out. */

export type Span = { text: string; style: string };

const STEERING =
  /\u001b\[([0-9;?]*)([A-Za-z])|\u001b\][^\u0007]*(?:\u0007|$)|[\u0000-\u0008\u000b\u000c\u000e-\u001a\u007f]/g;

/** Longer lines are cut in the view; the download has them whole. */
export const LONGEST_LINE = 20_000;

/** What a terminal would show of `line`: a carriage return writes over what came before it. */
export function visible(line: string): string {
  const trimmed = line.endsWith("\r") ? line.slice(0, -1) : line;
  const shown = trimmed.slice(trimmed.lastIndexOf("\r") + 1);
  return shown.length > LONGEST_LINE ? `${shown.slice(0, LONGEST_LINE)} …` : shown;
}

/** `line` as spans; `style` holds names like "bold red", empty for plain text. */
export function spans(line: string): Span[] {
  const found: Span[] = [];
  let style = "";
  let from = 0;
  for (const match of line.matchAll(STEERING)) {
    if (match.index > from) found.push({ text: line.slice(from, match.index), style });
    from = match.index + match[0].length;
    if (match[2] === "m") style = restyled(style, match[1] ?? "");
  }
  if (from < line.length) found.push({ text: line.slice(from), style });
  return found;
}

/** `line` without colours. */
export function plain(line: string): string {
  return spans(visible(line))
    .map((span) => span.text)
    .join("");
}

const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

function restyled(style: string, codes: string): string {
  const names = new Set(style.split(" ").filter(Boolean));
  for (const code of (codes || "0").split(";").map(Number)) {
    if (code === 0) names.clear();
    else if (code === 1) names.add("bold");
    else if (code === 22) names.delete("bold");
    else {
      const colour = colourOf(code);
      if (colour === null) continue;
      for (const old of COLOURS) names.delete(old);
      if (colour) names.add(colour);
    }
  }
  return [...names].join(" ");
}

/** The colour a code sets, "" for the default one, null when the code is about something else. */
function colourOf(code: number): string | null {
  if (code === 39) return "";
  if (code >= 30 && code <= 37) return COLOURS[code - 30]!;
  if (code >= 90 && code <= 97) return COLOURS[code - 90]!;
  return null;
}
