import { useDebouncedValue } from "@mantine/hooks";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { api, body } from "../../api/client";
import { type ApiProblem, asProblem } from "../../api/problem";
import type { DryRun, SpecRequest } from "../../api/types";
import type { Draft } from "./draft";

/** The server is asked once typing has paused this long. */
const PAUSE_MS = 400;

export type Check = { answer: DryRun | null; problem: ApiProblem | null; pending: boolean };

/** What the server would do with the draft's spec. Nothing is created. */
export function useDryRun(draft: Draft): Check {
  const [spec] = useDebouncedValue(draft.spec, PAUSE_MS);
  const run = useQuery({
    queryKey: ["dry-run", JSON.stringify(spec)],
    queryFn: async ({ signal }): Promise<{ answer: DryRun | null; problem: ApiProblem | null }> => {
      try {
        const answer = await body(
          api.POST("/api/v1/jobs", { params: { query: { dry_run: 1 } }, body: spec as SpecRequest, signal }),
        );
        return { answer: answer as DryRun, problem: null };
      } catch (error) {
        const problem = asProblem(error);
        // A refusal is the answer; only a server that cannot answer is an error, to be asked again.
        if (problem.status < 400 || problem.status >= 500 || [401, 429].includes(problem.status)) throw error;
        return { answer: null, problem };
      }
    },
    placeholderData: keepPreviousData,
    staleTime: 10_000,
  });
  return {
    answer: run.data?.answer ?? null,
    problem: run.data?.problem ?? (run.isError ? asProblem(run.error) : null),
    pending: run.isPending || run.isPlaceholderData || spec !== draft.spec,
  };
}
