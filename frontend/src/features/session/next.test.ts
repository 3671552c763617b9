import { expect, test } from "vitest";
import { safeNext } from "./next";

test("signing in never leads to another site", () => {
  expect(safeNext("/jobs?status=queued")).toBe("/jobs?status=queued");
  for (const evil of [
    "//evil.example",
    "https://evil.example",
    "/\\evil.example",
    "javascript:alert(1)",
    undefined,
  ]) {
    expect(safeNext(evil)).toBe("/");
  }
});
