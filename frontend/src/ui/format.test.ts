import { expect, test } from "vitest";
import { plain, spans, visible } from "./ansi";
import { cividis, cividisWord, readableOn } from "./cividis";
import { ago, bytes, count, duration, memory, milli, NOTHING, percent } from "./format";

test("lengths of time are two units at most", () => {
  expect(duration(840)).toBe("840 ms");
  expect(duration(-5)).toBe("0 ms");
  expect(duration(7150)).toBe("7.1 s");
  expect(duration(9999)).toBe("9.9 s");
  expect(duration(59_999)).toBe("59 s");
  expect(duration(3_599_999)).toBe("59 min 59 s");
  expect(duration(3_600_000)).toBe("1 h");
  expect(duration(90_061_000)).toBe("1 d 1 h");
  expect(duration(null)).toBe(NOTHING);
});

test("quantities are whole numbers written out", () => {
  expect(milli(500)).toBe("0.5");
  expect(milli(128_000)).toBe("128");
  expect(percent(493)).toBe("49 %");
  expect(percent(0)).toBe("0 %");
  expect(percent(null)).toBe(NOTHING);
  expect(memory(81_920)).toBe("80 GiB");
  expect(memory(0)).toBe("0 MiB");
  expect(memory(2 * 1024 * 1024)).toBe("2 TiB");
  expect(bytes(1023)).toBe("1,023 B");
  expect(bytes(3 * 1024 * 1024)).toBe("3 MiB");
  expect(count(74_517)).toBe("74,517");
});

test("moments are told from now", () => {
  const now = Date.parse("2026-01-01T12:00:00Z");
  expect(ago("2026-01-01T11:59:58Z", now)).toBe("just now");
  expect(ago("2026-01-01T09:30:00Z", now)).toBe("2 h ago");
  expect(ago(null, now)).toBe(NOTHING);
});

test("a log line shows what a terminal would", () => {
  expect(visible("10 %\r50 %\r100 %")).toBe("100 %");
  expect(visible("done\r")).toBe("done");
  expect(visible("x".repeat(30_000))).toHaveLength(20_002);
  expect(plain("\u001b[1;32mok\u001b[0m \u0007then\u001b[2K")).toBe("ok then");
  expect(spans("a\u001b[1;31mb\u001b[39mc\u001b[0md")).toEqual([
    { text: "a", style: "" },
    { text: "b", style: "bold red" },
    { text: "c", style: "bold" },
    { text: "d", style: "" },
  ]);
});

test("the colours of use run from dark to bright, with text that can be read on each", () => {
  expect(cividis(0)).toBe("#00224e");
  expect(cividis(1000)).toBe("#fee838");
  expect(cividis(9999)).toBe("#fee838");
  expect(cividisWord(0)).toBe(0xff4e2200);
  const luminance = (hex: string) => {
    const channels = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255);
    const [r, g, b] = channels.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  for (let permille = 0; permille <= 1000; permille += 10) {
    const [a, b] = [luminance(cividis(permille)), luminance(readableOn(cividis(permille)))];
    expect((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)).toBeGreaterThan(4.5);
  }
});
