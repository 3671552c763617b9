/** What every page stands on: theme, query cache, the live feed, notices. */

import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { I18nextProvider } from "react-i18next";
import { Feed, type JobFeed } from "../api/live";
import { ApiProblem, asProblem } from "../api/problem";
import { i18next } from "./i18n";
import { colorSchemeManager, theme } from "./theme";

/** Answers count as fresh this long; hints refresh them sooner. */
const FRESH_MS = 5000;
const RETRIES = 2;

/** The query cache of one page. `signedOut` is called when the server no longer knows the session. */
export function createClient(signedOut: () => void = () => {}): QueryClient {
  return new QueryClient({
    queryCache: new QueryCache({ onError: (error) => asProblem(error).status === 401 && signedOut() }),
    defaultOptions: {
      queries: {
        staleTime: FRESH_MS,
        retry: (failures, error) => failures < RETRIES && mayPass(error),
        refetchOnWindowFocus: true,
        throwOnError: false,
      },
    },
  });
}

/** Refusals stay refusals; only an unreachable or overloaded server is asked again. */
function mayPass(error: unknown): boolean {
  return !(error instanceof ApiProblem) || error.status === 0 || error.status === 429 || error.status >= 500;
}

export function Providers(props: { client: QueryClient; feed: JobFeed; children: ReactNode }) {
  return (
    <I18nextProvider i18n={i18next}>
      <MantineProvider theme={theme} defaultColorScheme="auto" colorSchemeManager={colorSchemeManager}>
        <QueryClientProvider client={props.client}>
          <Feed.Provider value={props.feed}>
            <Notifications position="bottom-right" limit={4} autoClose={5000} />
            {props.children}
          </Feed.Provider>
        </QueryClientProvider>
      </MantineProvider>
    </I18nextProvider>
  );
}
