import { expect, test } from "vitest";
import { claimsOf, exampleOf, systemOf } from "./trust";

test("claims are those of the system, of one branch or of all", () => {
  expect(claimsOf("github", "acme/train", "")).toEqual({ repository: "acme/train" });
  expect(claimsOf("github", "acme/train", "main").ref).toBe("refs/heads/main");
  expect(claimsOf("gitlab", "acme/train", "main")).toEqual({
    project_path: "acme/train",
    ref: "main",
    ref_type: "branch",
  });
  expect(systemOf(claimsOf("gitlab", "a/b", ""))).toBe("gitlab");
  expect(systemOf(claimsOf("github", "a/b", ""))).toBe("github");
});

test("an example has five lines with the server and the rule", () => {
  for (const system of ["github", "gitlab"] as const) {
    const lines = exampleOf(system, "trust-1", "https://flexai.example").split("\n");
    expect(lines).toHaveLength(5);
    expect(lines.join()).toContain("flexai login --oidc https://flexai.example --rule trust-1");
  }
});
