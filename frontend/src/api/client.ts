/** The one client: typed by the contract, carries the CSRF token, turns every refusal into an `ApiProblem`. */

import createFetchClient, { type Middleware } from "openapi-fetch";
import createQueryClient from "openapi-react-query";
import { problemOf, UNREACHABLE } from "./problem";
import type { paths } from "./schema";

const CSRF_COOKIE = "flexai_csrf";

/** The value of the CSRF cookie, empty before the first answer of the server. */
export function csrfToken(cookies: string = document.cookie): string {
  const found = cookies.split("; ").find((cookie) => cookie.startsWith(`${CSRF_COOKIE}=`));
  return found ? decodeURIComponent(found.slice(CSRF_COOKIE.length + 1)) : "";
}

const safe: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

const carryCsrf: Middleware = {
  onRequest({ request }) {
    if (!safe.has(request.method)) request.headers.set("X-CSRFToken", csrfToken());
    return request;
  },
};

const throwProblems: Middleware = {
  async onResponse({ response }) {
    if (!response.ok) throw await problemOf(response);
    return response;
  },
  onError() {
    return UNREACHABLE;
  },
};

export const api = createFetchClient<paths>({
  baseUrl: globalThis.location?.origin ?? "",
  credentials: "same-origin",
  // Looked up at each call: the client would otherwise keep the fetch of its own creation.
  fetch: (request) => globalThis.fetch(request),
});
api.use(carryCsrf, throwProblems);

export const query = createQueryClient(api);

/** The body of an answer that the contract promises; a refusal has already been thrown. */
export async function body<T>(answer: Promise<{ data?: T }>): Promise<T> {
  return (await answer).data as T;
}
