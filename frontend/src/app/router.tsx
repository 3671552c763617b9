/** Addresses and what they show. Filters, sorting and tabs live in the address, so every view can be sent to somebody. */

import type { QueryClient } from "@tanstack/react-query";
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  type RouterHistory,
  redirect,
  retainSearchParams,
} from "@tanstack/react-router";
import { asProblem } from "../api/problem";
import { meOptions } from "../api/session";
import { Failed } from "../ui/Faces";
import { NotFound, Waiting } from "./Blank";
import { Shell } from "./Shell";

type Context = { client: QueryClient };
type Search = { [key: string]: unknown };

const text = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined;
const number = (value: unknown): number | undefined =>
  Number.isInteger(value) ? (value as number) : undefined;

const root = createRootRouteWithContext<Context>()({ notFoundComponent: NotFound });

const REFUSALS = ["no_role", "failed", "unavailable"] as const;

const login = createRoute({
  getParentRoute: () => root,
  path: "/login",
  validateSearch: (search: Search): { next?: string; refused?: (typeof REFUSALS)[number] } => ({
    next: text(search.next),
    refused: REFUSALS.find((code) => code === search.refused),
  }),
  component: lazyRouteComponent(() => import("../features/session/LoginPage"), "LoginPage"),
});

const shell = createRoute({
  getParentRoute: () => root,
  id: "shell",
  validateSearch: (search: Search): { team?: string } => ({ team: text(search.team) }),
  search: { middlewares: [retainSearchParams(["team"])] },
  beforeLoad: async ({ context, location }) => {
    try {
      await context.client.ensureQueryData(meOptions());
    } catch (error) {
      if (asProblem(error).status !== 401) throw error;
      throw redirect({ to: "/login", search: { next: location.href === "/" ? undefined : location.href } });
    }
  },
  component: Shell,
});

const overview = createRoute({
  getParentRoute: () => shell,
  path: "/",
  component: lazyRouteComponent(() => import("../features/overview/OverviewPage"), "OverviewPage"),
});

export type JobsSearch = { status?: string; q?: string; user?: string; set?: string; sort?: string };

const jobs = createRoute({
  getParentRoute: () => shell,
  path: "/jobs",
  validateSearch: (search: Search): JobsSearch => ({
    status: text(search.status),
    q: text(search.q),
    user: text(search.user),
    set: text(search.set),
    sort: text(search.sort),
  }),
  component: lazyRouteComponent(() => import("../features/jobs/JobsPage"), "JobsPage"),
});

const job = createRoute({
  getParentRoute: () => shell,
  path: "/jobs/$id",
  validateSearch: (search: Search): { tab?: string; attempt?: number; replica?: number } => ({
    tab: text(search.tab),
    attempt: number(search.attempt),
    replica: number(search.replica),
  }),
  component: lazyRouteComponent(() => import("../features/jobs/JobPage"), "JobPage"),
});

const cluster = createRoute({
  getParentRoute: () => shell,
  path: "/cluster",
  validateSearch: (search: Search): { colour?: string; view?: string; node?: string; q?: string } => ({
    colour: text(search.colour),
    view: text(search.view),
    node: text(search.node),
    q: text(search.q),
  }),
  component: lazyRouteComponent(() => import("../features/cluster/ClusterPage"), "ClusterPage"),
});

const submit = createRoute({
  getParentRoute: () => shell,
  path: "/submit",
  validateSearch: (search: Search): { from?: string } => ({ from: text(search.from) }),
  component: lazyRouteComponent(() => import("../features/submit/SubmitPage"), "SubmitPage"),
});

const schedules = createRoute({
  getParentRoute: () => shell,
  path: "/schedules",
  component: lazyRouteComponent(() => import("../features/schedules/SchedulesPage"), "SchedulesPage"),
});

const teams = createRoute({
  getParentRoute: () => shell,
  path: "/teams",
  component: lazyRouteComponent(() => import("../features/teams/TeamsPage"), "TeamsPage"),
});

const account = createRoute({
  getParentRoute: () => shell,
  path: "/account",
  component: lazyRouteComponent(() => import("../features/account/AccountPage"), "AccountPage"),
});

const connect = createRoute({
  getParentRoute: () => shell,
  path: "/connect",
  component: lazyRouteComponent(() => import("../features/account/ConnectPage"), "ConnectPage"),
});

const tree = root.addChildren([
  login,
  shell.addChildren([overview, jobs, job, cluster, submit, schedules, teams, account, connect]),
]);

/** The router of one page; tests hand in a history of their own. */
export function createAppRouter(client: QueryClient, history?: RouterHistory) {
  return createRouter({
    routeTree: tree,
    context: { client },
    history,
    defaultPreload: "intent",
    defaultPendingComponent: Waiting,
    defaultErrorComponent: ({ error, reset }) => <Failed error={error} retry={reset} />,
    scrollRestoration: true,
  });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof createAppRouter>;
  }
}
