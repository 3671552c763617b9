import { screen, waitFor, within } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { expect, test } from "vitest";
import { problem } from "./answers";
import { showPage } from "./render";
import { serverOf } from "./server";
import { FakeSocket } from "./sockets";
import { World } from "./world";

test("the overview shows my jobs and leads to them", async () => {
  const { world } = showPage("/");
  await waitFor(() => expect(document.title).toBe("Overview · Flexai"));
  const mine = world.jobs.filter((job) => job.user === "ana" && job.status === "running").length;
  const tile = await screen.findByRole("link", { name: new RegExp(`My running jobs\\s*${mine}`) });
  expect(tile.getAttribute("href")).toContain("user=ana");
});

test("the jobs page lists jobs, and a hint of a new state shows at once", async () => {
  const { world, tell } = showPage("/jobs?status=queued,held");
  const queued = world.jobs.filter((job) => job.status === "queued");
  const first = queued[0]!;
  const row = (await screen.findByRole("link", { name: first.name })).closest("tr")!;
  expect(within(row).getByTestId("status").textContent).toBe("queued");
  await waitFor(() =>
    expect(JSON.stringify(FakeSocket.open[0]?.sent)).toContain(`team:${first.team.id}:jobs`),
  );
  await userEvent.hover(row);
  // The hint says no more than that there is news, and the job no longer matches the filter.
  tell({ ...world.move(first, { status: "running" }), data: undefined });
  await waitFor(() => expect(within(row).getByTestId("status").textContent).toBe("running"));
});

test("an older version of a job is ignored by the page", async () => {
  const { world, tell } = showPage("/jobs");
  const job = world.jobs.find((one) => one.status === "running")!;
  const row = (await screen.findByRole("link", { name: job.name })).closest("tr")!;
  await userEvent.hover(row);
  tell({ ...world.hint(`team:${job.team.id}:jobs`, "job", job.id, job.version - 1, { status: "failed" }) });
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(within(row).getByTestId("status").textContent).toBe("running");
});

test("a window is called by its page, and a task by its array's name and its index", async () => {
  const { world } = showPage("/jobs");
  await waitFor(() => expect(document.title).toBe("Jobs · Flexai"));
  const task = Object.assign(world.jobs[0]!, { name: "tune", index: 3 });
  const page = showPage(`/jobs/${task.id}`, world);
  await waitFor(() => expect(document.title).toBe("tune[3] · Flexai"));
  expect((await screen.findByRole("heading", { level: 1, name: /tune\[3\]/ })).textContent).toContain(
    "tune[3]",
  );
  page.unmount();
});

test("no match, empty and error are three different faces", async () => {
  const first = showPage("/jobs?q=there-is-no-such-job");
  await screen.findByText("Nothing matches these filters");
  first.unmount();
  const second = showPage("/jobs", new World({ nodes: 1, chips: 1, jobs: 0 }));
  await screen.findByText("No jobs yet");
  second.unmount();
  const world = new World();
  const answer = serverOf(world);
  showPage("/jobs", world, async (input, init) => {
    const { pathname } = new URL(input instanceof Request ? input.url : String(input));
    return pathname === "/api/v1/jobs" ? problem(403, "forbidden", "Not for you.") : answer(input, init);
  });
  expect((await screen.findByRole("alert")).textContent).toContain("Not for you.");
});

test("schedules are listed, and one may be paused by who may change it", async () => {
  const world = new World();
  const answer = serverOf(world);
  const schedule = {
    id: "sched-1",
    name: "nightly",
    team: { id: world.teams[0]!.id, name: world.teams[0]!.name },
    user: "ana",
    cron: "30 2 * * *",
    timezone: "UTC",
    paused: false,
    next_at: new Date(Date.now() + 3_600_000).toISOString(),
    last_job: null,
    problem: "Nothing was made: no such team.",
    may_change: true,
  };
  const { requests } = showPage("/schedules", world, async (input, init) => {
    const { pathname } = new URL(input instanceof Request ? input.url : String(input));
    if (!pathname.startsWith("/api/v1/schedules")) return answer(input, init);
    return Response.json(pathname.endsWith("/pause") ? schedule : { items: [schedule], next_cursor: null });
  });
  const row = (await screen.findByText("nightly")).closest("tr")!;
  expect(row.textContent).toContain("30 2 * * *");
  expect(row.textContent).toContain("Nothing was made");
  await userEvent.click(within(row).getByRole("button", { name: "Pause" }));
  await waitFor(() => expect(requests.some((one) => one.url.endsWith("/sched-1/pause"))).toBe(true));
});

test("several jobs are stopped only after the words are typed", async () => {
  const { world, requests } = showPage("/jobs?status=running");
  const running = world.jobs.filter((job) => job.status === "running").slice(0, 2);
  for (const job of running)
    await userEvent.click(await screen.findByRole("checkbox", { name: `Select ${job.id}` }));
  await userEvent.click(screen.getByRole("button", { name: "Stop 2" }));
  const dialog = await screen.findByRole("dialog");
  const confirm = within(dialog).getByRole("button", { name: "Stop 2" }) as HTMLButtonElement;
  expect(confirm.disabled).toBe(true);
  await userEvent.type(within(dialog).getByLabelText(/Type/), "stop 2");
  await userEvent.click(confirm);
  await waitFor(() => {
    const stopped = requests.filter((request) => request.url.endsWith("/stop")).length;
    expect(stopped).toBe(2);
  });
});

test("the job page offers the allowed actions and says why a job waits", async () => {
  const world = new World();
  const job = world.jobs.find((one) => one.status === "queued")!;
  showPage(`/jobs/${job.id}`, world);
  await screen.findByText("What stands in the way");
  await screen.findByText(/of 40 jobs .* 93 % began/i);
  expect(screen.getByRole("button", { name: "Stop" })).toBeTruthy();
  expect(screen.getByRole("button", { name: "Hold" })).toBeTruthy();
  expect(screen.queryByRole("button", { name: "Run again" })).toBeNull();
});

test("the job page lists the files that a job left, each a download, and says what was left out", async () => {
  const world = new World();
  const job = world.jobs.find((one) => one.ended_at !== null)!;
  showPage(`/jobs/${job.id}?tab=outputs`, world);
  const file = await screen.findByRole("link", { name: "results/a b&c.bin" });
  const address = new URL(file.getAttribute("href")!, "http://here");
  expect(address.pathname).toBe(`/api/v1/jobs/${job.id}/outputs/file`);
  expect(address.searchParams.get("path")).toBe("results/a b&c.bin");
  expect(file.hasAttribute("download")).toBe(true);
  await screen.findByText("results/latest is a link to a folder.");
  const all = screen.getByRole("link", { name: "Download all" });
  expect(all.getAttribute("href")).toContain(`/api/v1/jobs/${job.id}/outputs.tar?attempt=`);
});

test("the job page says that files are awaited while the job runs", async () => {
  const world = new World();
  const job = world.jobs.find((one) => one.status === "running")!;
  showPage(`/jobs/${job.id}?tab=outputs`, world);
  await screen.findByText("They are collected when it ends.");
  expect(screen.queryByRole("link", { name: "Download all" })).toBeNull();
});

test("the job page reads logs from their end and goes on from the last offset", async () => {
  const world = new World();
  const job = world.jobs.find((one) => one.status === "running")!;
  const { requests, tell } = showPage(`/jobs/${job.id}?tab=logs`, world);
  await screen.findByText(/ 403 lines/);
  const size = world.logs.get(job.id)!.length;
  world.logs.set(job.id, `${world.logs.get(job.id)}the newest line\n`);
  tell(world.hint(`job:${job.id}`, "logs", job.id, 0, { attempt: 1, replica: 0, size: size + 16 }));
  await screen.findByText(/ 404 lines/);
  const asked = requests
    .map((request) => new URL(request.url))
    .filter((url) => url.pathname.endsWith("/logs"));
  expect(asked[0]!.searchParams.get("tail_bytes")).not.toBeNull();
  expect(asked.at(-1)!.searchParams.get("offset")).toBe(String(size));
});

test("what holds a job back is said on its page, with when it is moved, and can be put off", async () => {
  const world = new World();
  const job = world.jobs.find((one) => one.status === "running")!;
  job.straggler = {
    since: new Date(Date.now() - 300_000).toISOString(),
    sign: "clock",
    sentence: "Chip 3 of node-02 runs at 60 % of the clock of the 31 others.",
    pace_permille: 600,
    equals: 31,
    moves_at: new Date(Date.now() + 300_000).toISOString(),
    leaving_since: null,
  };
  showPage(`/jobs/${job.id}`, world);
  const notice = await screen.findByText(/Chip 3 of node-02 runs at 60 %/);
  expect(notice.textContent).toMatch(/So for 5 min.*Its policy moves it elsewhere from/);
  expect(screen.getByRole("button", { name: "Keep for an hour" })).toBeTruthy();
});

test("the cluster page has a map and the same as a table, with simulated nodes marked", async () => {
  const { world } = showPage("/cluster");
  await screen.findByRole("application", { name: "Chip map: 12 nodes, 96 chips" });
  const table = screen.getByRole("table", { name: "Nodes" });
  expect(within(table).getAllByText("simulated")).toHaveLength(
    world.nodes.filter((node) => node.simulated).length,
  );
});

test("what the scheduler saved is told to operators alone, and says that it is simulated", async () => {
  showPage("/cluster");
  const panel = (await screen.findByText(/Saved in the last 30 days/)).closest("section")!;
  expect(within(panel).getByText("simulated")).toBeTruthy();
  expect(within(panel).getByText("-0.2 h")).toBeTruthy();
  expect(within(panel).getByText("4.25 kWh")).toBeTruthy();
});

test("chips that are out or lent are listed with why and to whom, and an operator returns one", async () => {
  const world = new World();
  const node = world.nodes.find((one) => one.contact === "ok")!;
  const [out, lent] = node.chips;
  Object.assign(out!, { state: "cordoned", healthy: false, health_note: "Cordoned: a fan is loud" });
  const guest = {
    id: "job-guest",
    name: "borrower",
    milli: 500,
    since: new Date(Date.now() - 60_000).toISOString(),
    halted_at: null,
    owner_idle_since: new Date(Date.now() - 600_000).toISOString(),
    owner_use_permille: 10,
  };
  Object.assign(lent!, { guest_milli: 1000, guests: [guest] });
  const { requests } = showPage("/cluster", world);
  const table = await screen.findByRole("table", { name: "Chips out of service" });
  expect(table.textContent).toContain("Cordoned: a fan is loud");
  expect(screen.getByRole("table", { name: "Chips that are lent" }).textContent).toContain("borrower");
  const name = `${node.name}:${out!.index}`;
  await userEvent.click(within(table).getByRole("button", { name: `Return ${name} to service` }));
  await userEvent.click(within(await screen.findByRole("dialog")).getByRole("button", { name: "Return" }));
  await waitFor(() =>
    expect(requests.some((one) => one.url.endsWith(`/chips/${out!.id}/return`))).toBe(true),
  );
});

test("a chip is not cordoned without a reason", async () => {
  const world = new World();
  const node = world.nodes.find((one) => one.contact === "ok")!;
  const { requests } = showPage(`/cluster?node=${node.id}`, world);
  await userEvent.click(await screen.findByRole("button", { name: `Cordon ${node.name}:0` }));
  const dialog = (await screen.findByText(`Cordon chip ${node.name}:0?`)).closest("section")!;
  const confirm = within(dialog).getByRole("button", { name: "Cordon" }) as HTMLButtonElement;
  expect(confirm.disabled).toBe(true);
  await userEvent.type(within(dialog).getByLabelText("Reason"), "it smells");
  await userEvent.click(confirm);
  await waitFor(() =>
    expect(requests.some((one) => one.url.endsWith(`/chips/${node.chips[0]!.id}/cordon`))).toBe(true),
  );
});

test("a webhook is made, its secret shown once, tried and deleted", async () => {
  const { requests } = showPage("/teams");
  await userEvent.click(await screen.findByRole("button", { name: "New webhook" }));
  const dialog = await screen.findByRole("dialog");
  await userEvent.type(within(dialog).getByLabelText("Name"), "ci");
  await userEvent.type(within(dialog).getByLabelText("Address"), "https://ci.example/x");
  await userEvent.click(within(dialog).getByRole("button", { name: "Make it" }));
  await screen.findByText("whsec_secret");
  await userEvent.click(screen.getByRole("button", { name: "I have kept it" }));
  const row = (await screen.findByText("ci")).closest("tr")!;
  expect(row.textContent).toContain("nothing yet");
  await userEvent.click(within(row).getByRole("button", { name: "Test" }));
  await waitFor(() => expect(row.textContent).toContain("ping delivered"));
  await userEvent.click(within(row).getByRole("button", { name: "Delete" }));
  const asked = await screen.findByText("Delete the webhook ci?");
  await userEvent.click(within(asked.closest("section")!).getByRole("button", { name: "Delete" }));
  await screen.findByText("No webhooks");
  expect(requests.filter((one) => one.method !== "GET" && one.url.includes("/webhooks"))).toHaveLength(3);
});

test("the submit page shows what the server says and keeps the form when the YAML breaks", async () => {
  const { world, requests, router } = showPage("/submit");
  await screen.findByText(/Starts now/);
  const name = screen.getByLabelText("Name") as HTMLInputElement;
  await userEvent.clear(name);
  await userEvent.type(name, "from-the-form");
  await waitFor(() => expect(screen.getByTestId("yaml").textContent).toContain("name: from-the-form"));
  await userEvent.click(screen.getByRole("button", { name: "Submit" }));
  await waitFor(() => expect(router.state.location.pathname).toBe(`/jobs/${world.jobs[0]!.id}`));
  const sent = requests.find((request) => request.method === "POST" && !request.url.includes("dry_run"))!;
  expect(sent.headers.get("Idempotency-Key")).toBeTruthy();
  expect(world.jobs[0]!.name).toBe("from-the-form");
});

test("one press puts an alternative of the server into form and YAML", async () => {
  showPage("/submit");
  const take = await screen.findByRole("button", { name: /^Use this: If it were preemptible/ });
  await userEvent.click(take);
  await waitFor(() => expect(screen.getByTestId("yaml").textContent).toContain("preemptible: true"));
  expect(screen.getByTestId("yaml").textContent).toContain("accelerators: A100:1");
  await waitFor(() => expect(screen.queryByRole("button", { name: /^Use this/ })).toBeNull());
});

test("the teams page shows used, guaranteed and over quota", async () => {
  showPage("/teams");
  expect(await screen.findByText("96 used · 64 guaranteed · +32 over · 128 limit")).toBeTruthy();
});

test("a maintainer asks for more quota, and withdraws what waits for an answer", async () => {
  const world = new World();
  const answer = serverOf(world);
  const figures = { guaranteed_milli: 96_000, limit_milli: null, over_quota_weight: 1 };
  const request = {
    id: "qreq-1",
    kind: "quota",
    team: { id: world.teams[0]!.id, name: world.teams[0]!.name },
    cell: "default",
    chip_type: "H100-80GB",
    asked: figures,
    until: "2026-12-31",
    reason: "the paper is due",
    state: "open",
    asked_by: "ana",
    asked_at: new Date().toISOString(),
    granted: null,
    before: null,
    decided_by: null,
    decided_at: null,
    answer: "",
    note: "",
    allowed_actions: ["withdraw"],
  };
  const sent: unknown[] = [];
  const { requests } = showPage("/teams", world, async (input, init) => {
    const asked = input instanceof Request ? input : new Request(String(input), init);
    const { pathname } = new URL(asked.url);
    if (!pathname.startsWith("/api/v1/quota-requests")) return answer(input, init);
    if (asked.method === "POST") {
      sent.push(
        await asked
          .clone()
          .json()
          .catch(() => null),
      );
      return Response.json(request, { status: pathname.endsWith("withdraw") ? 200 : 201 });
    }
    return Response.json({ items: [request], next_cursor: null });
  });
  const list = await screen.findByRole("list", { name: /research-nlp asked for/ });
  expect(list.textContent).toContain("96 guaranteed, no limit, until 2026-12-31");
  expect(list.textContent).toContain("Waits for an answer");
  expect(screen.queryByRole("button", { name: "Approve" })).toBeNull();
  await userEvent.click(screen.getAllByRole("button", { name: "Ask for more quota" })[0]!);
  const form = await screen.findByRole("dialog");
  await userEvent.type(within(form).getByLabelText("Guaranteed, in chips"), "96.5");
  await userEvent.type(within(form).getByLabelText(/Reason/), "more to do");
  await userEvent.click(within(form).getByRole("button", { name: "Ask" }));
  await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  expect(sent).toEqual([
    { team: "team-nlp", chip_type: "H100-80GB", guaranteed_milli: 96_500, reason: "more to do" },
  ]);
  await userEvent.click(screen.getByRole("button", { name: "Withdraw" }));
  await waitFor(() =>
    expect(requests.some((one) => one.url.endsWith("/quota-requests/qreq-1/withdraw"))).toBe(true),
  );
});

test("what became of one's requests is told on every page until it is closed", async () => {
  const answer = serverOf(new World());
  const yesterday = new Date(Date.now() - 86_400_000).toISOString();
  const quota = { chip_type: "H100-80GB", guaranteed_milli: 4000, limit_milli: null, over_quota_weight: 1 };
  const request = {
    ...{
      kind: "quota",
      team: { id: "team-nlp", name: "research-nlp" },
      cell: "main",
      chip_type: "H100-80GB",
    },
    ...{ asked: quota, granted: quota, until: null, reason: "why", asked_by: "ana", allowed_actions: [] },
    ...{ made_at: yesterday, decided_at: yesterday, decided_by: "olga", answer: "for now", note: "" },
  };
  const over = { until: yesterday.slice(0, 10), answer: "", note: "Given back when its time was over." };
  const items = [
    { ...request, id: "qreq-1", state: "approved" },
    { ...request, id: "qreq-2", state: "ended", ...over },
    { ...request, id: "qreq-3", state: "approved", decided_by: "ana" },
    { ...request, id: "qreq-4", state: "declined", asked_by: "ben" },
    { ...request, id: "qreq-5", state: "ended", note: "qreq-1 took its place." },
  ];
  showPage("/jobs", new World(), async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : String(input), "http://localhost");
    if (url.pathname === "/api/v1/quota-requests") return Response.json({ items, next_cursor: null });
    return answer(input, init);
  });
  const told = await screen.findByText(/^olga approved your request for H100-80GB of research-nlp/);
  expect(told.textContent).toContain("for now");
  const ended = screen.getByText(/^The grant of H100-80GB to research-nlp is over/);
  expect(ended.textContent).toContain("Given back when its time was over.");
  expect(screen.getAllByText(/your request|The grant/)).toHaveLength(2);
  const notice = told.closest("[role=note]") as HTMLElement;
  await userEvent.click(within(notice).getByRole("button", { name: "Close this notice" }));
  expect(screen.queryByText(/approved your request/)).toBeNull();
});

test("a maintainer of a team with a budget asks for more of it", async () => {
  const world = new World();
  world.teams[0]!.budget = {
    period: "month",
    since: "2026-01-01",
    chip_hours: 1000,
    money_micro: null,
    soft_percent: 80,
    hard: true,
    spent_chip_ms: 0,
    spent_micro: 0,
    state: "ok",
  };
  const answer = serverOf(world);
  const sent: unknown[] = [];
  const asked = {
    id: "qreq-2",
    kind: "budget",
    team: { id: world.teams[0]!.id, name: world.teams[0]!.name },
    cell: null,
    chip_type: null,
    asked: { chip_hours: 2000, money_micro: 5_000_000 },
    until: null,
    reason: "more to do",
    state: "open",
    asked_by: "ana",
    answer: "",
    note: "",
    granted: null,
    allowed_actions: [],
  };
  showPage("/teams", world, async (input, init) => {
    const request = input instanceof Request ? input : new Request(String(input), init);
    if (!new URL(request.url).pathname.startsWith("/api/v1/quota-requests")) return answer(input, init);
    if (request.method !== "POST")
      return Response.json({ items: sent.length ? [asked] : [], next_cursor: null });
    sent.push(await request.clone().json());
    return Response.json(asked, { status: 201 });
  });
  const [button, ...others] = await screen.findAllByRole("button", { name: "Ask for more budget" });
  expect(others).toEqual([]);
  await userEvent.click(button!);
  const form = await screen.findByRole("dialog");
  expect(form.textContent).toContain("Now: 1,000.");
  await userEvent.type(within(form).getByLabelText("Chip-hours"), "2000");
  await userEvent.type(within(form).getByLabelText("Money, EUR"), "5");
  await userEvent.type(within(form).getByLabelText(/Reason/), "more to do");
  await userEvent.click(within(form).getByRole("button", { name: "Ask" }));
  const list = await screen.findByRole("list", { name: /research-nlp asked for/ });
  expect(list.textContent).toContain("Budget 2,000 chip-hours, 5 EUR");
  expect(sent).toEqual([
    { team: "team-nlp", kind: "budget", chip_hours: 2000, money_micro: 5_000_000, reason: "more to do" },
  ]);
});

test("without a session every page leads to the login, and the login leads back", async () => {
  const world = new World();
  world.signedIn = false;
  const { router } = showPage("/cluster", world);
  await userEvent.type(await screen.findByLabelText("User name"), "ana");
  await userEvent.type(screen.getByLabelText("Password"), "wrong");
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
  expect((await screen.findByRole("alert")).textContent).toContain("wrong");
  await userEvent.clear(screen.getByLabelText("Password"));
  await userEvent.type(screen.getByLabelText("Password"), "right");
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
  await waitFor(() => expect(router.state.location.pathname).toBe("/cluster"));
});

test("whoever is in several organizations switches between them", async () => {
  const world = new World();
  world.organizations = [...world.organizations, { id: "org-2", name: "Other Lab", slug: "other" }];
  showPage("/teams", world);
  await userEvent.click(await screen.findByRole("button", { name: "Account of ana" }));
  await userEvent.click(await screen.findByText("Switch to Other Lab", {}, { timeout: 10_000 }));
  expect(screen.queryByText("Switch to Example Lab")).toBeNull();
  await waitFor(() => expect(world.actsIn.slug).toBe("other"));
});

test("with a second factor a code is asked for, and a wrong one is said", async () => {
  const world = new World();
  world.signedIn = false;
  world.code = "123456";
  const { router } = showPage("/cluster", world);
  await userEvent.type(await screen.findByLabelText("User name"), "ana");
  await userEvent.type(screen.getByLabelText("Password"), "right");
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
  const code = await screen.findByLabelText("Code");
  expect(screen.queryByRole("alert")).toBeNull();
  await userEvent.type(code, "654321");
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
  expect((await screen.findByRole("alert")).textContent).toContain("wrong");
  await userEvent.clear(screen.getByLabelText("Code"));
  await userEvent.type(screen.getByLabelText("Code"), "123456");
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
  await waitFor(() => expect(router.state.location.pathname).toBe("/cluster"));
});

test("signing in by a provider leads there with the page to come back to, and a refusal is said", async () => {
  const world = new World();
  world.signedIn = false;
  world.provider = "Acme";
  showPage("/login?next=%2Fcluster&refused=no_role", world);
  const link = await screen.findByRole("link", { name: "Continue with Acme" });
  expect(link.getAttribute("href")).toBe("/sign-in/oidc?next=%2Fcluster");
  expect(screen.getByRole("alert").textContent).toContain("None of your groups");
});
