/** Errors as the server tells them (problem+json), in one class that every page can show. */

import type { Problem } from "./types";

/** A word of the server's registry, or one of ours where it said none. */
type Code = Problem["code"] | "unreachable" | "unknown";
type Told = Partial<Omit<Problem, "code">> & { status: number; code?: Code };

/** A refused or failed request. `status` is 0 when the server could not be reached. */
export class ApiProblem extends Error {
  readonly status: number;
  readonly code: Code;
  readonly errors: { field: string; message: string; hint?: string | null }[];

  constructor(problem: Told) {
    super(problem.detail || problem.title || `The server answered ${problem.status}.`);
    this.name = "ApiProblem";
    this.status = problem.status;
    this.code = problem.code ?? "unknown";
    this.errors = problem.errors ?? [];
  }
}

export const UNREACHABLE = new ApiProblem({
  status: 0,
  code: "unreachable",
  title: "The server cannot be reached.",
});

/** What `response` says went wrong, whether or not it speaks problem+json. */
export async function problemOf(response: Response): Promise<ApiProblem> {
  try {
    const body: unknown = await response.clone().json();
    if (typeof body === "object" && body !== null) {
      return new ApiProblem({ ...(body as Partial<Problem>), status: response.status });
    }
  } catch {
    // Not JSON: a proxy's page, or nothing at all. The status says what there is to say.
  }
  return new ApiProblem({ status: response.status, title: response.statusText });
}

export function asProblem(error: unknown): ApiProblem {
  if (error instanceof ApiProblem) return error;
  return new ApiProblem({
    status: 0,
    code: "unknown",
    title: error instanceof Error ? error.message : String(error),
  });
}
