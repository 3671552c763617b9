/** The two kinds of answer that a server gives. */

export function json(value: unknown, status = 200): Response {
  const type = status >= 400 ? "application/problem+json" : "application/json";
  return new Response(status === 204 ? null : JSON.stringify(value), {
    status,
    headers: { "Content-Type": type },
  });
}

export function problem(status: number, code: string, title: string, errors: object[] = []): Response {
  return json({ type: "about:blank", title, status, code, detail: title, errors }, status);
}
