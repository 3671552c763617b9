/** Who is signed in, and since what the page may rely on: the shell is only drawn once this is known. */

import { useSuspenseQuery } from "@tanstack/react-query";
import { query } from "./client";
import type { Me } from "./types";

/** The signed-in user rarely changes; a refresh every few minutes is plenty. */
const ME_FRESH_MS = 300_000;

export const meOptions = () =>
  query.queryOptions("get", "/api/v1/me", undefined, { staleTime: ME_FRESH_MS, retry: false });

export function useMe(): Me {
  return useSuspenseQuery(meOptions()).data;
}
