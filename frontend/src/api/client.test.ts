import { expect, test, vi } from "vitest";
import { api, csrfToken } from "./client";
import { ApiProblem } from "./problem";

test("the CSRF cookie travels with changes and not with reads", async () => {
  // biome-ignore lint/suspicious/noDocumentCookie: the server's cookie stands in for itself
  document.cookie = "flexai_csrf=secret%2Bone";
  const seen: (string | null)[] = [];
  vi.stubGlobal("fetch", async (request: Request) => {
    seen.push(request.headers.get("X-CSRFToken"));
    return Response.json({ authenticated: true });
  });
  await api.GET("/api/v1/session");
  await api.POST("/api/v1/session", { body: { username: "a", password: "b" } });
  expect(seen).toEqual([null, "secret+one"]);
  expect(csrfToken("other=1; flexai_csrf=x")).toBe("x");
  expect(csrfToken("")).toBe("");
});

test("a refusal is thrown with its fields, also when it is no problem+json", async () => {
  vi.stubGlobal("fetch", async () =>
    Response.json(
      {
        title: "Wrong",
        status: 422,
        code: "invalid",
        detail: "Bad.",
        errors: [{ field: "name", message: "m" }],
      },
      { status: 422 },
    ),
  );
  const problem = await api.GET("/api/v1/me").catch((error: unknown) => error);
  expect(problem).toBeInstanceOf(ApiProblem);
  expect(problem).toMatchObject({
    status: 422,
    code: "invalid",
    message: "Bad.",
    errors: [{ field: "name", message: "m" }],
  });
  vi.stubGlobal("fetch", async () => new Response("<html>", { status: 502, statusText: "Bad Gateway" }));
  await expect(api.GET("/api/v1/me")).rejects.toMatchObject({ status: 502, message: "Bad Gateway" });
  vi.stubGlobal("fetch", async () => Promise.reject(new TypeError("failed")));
  await expect(api.GET("/api/v1/me")).rejects.toMatchObject({ status: 0, code: "unreachable" });
});
