import { screen, waitFor, within } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { beforeEach, expect, test } from "vitest";
import { aToken } from "./accounts";
import { showPage } from "./render";
import { World } from "./world";

beforeEach(() => localStorage.clear());

test("a second factor is set up by password and code, and its recovery codes are shown once", async () => {
  const { world } = showPage("/account");
  await userEvent.click(await screen.findByRole("button", { name: "Set up" }));
  await userEvent.type(screen.getByLabelText("Password"), "wrong");
  await userEvent.click(screen.getByRole("button", { name: "Next" }));
  expect((await screen.findByRole("alert")).textContent).toContain("wrong");
  await userEvent.clear(screen.getByLabelText("Password"));
  await userEvent.type(screen.getByLabelText("Password"), "right");
  await userEvent.click(screen.getByRole("button", { name: "Next" }));
  expect((await screen.findByTestId("totp-secret")).textContent).toBe("JBSWY3DPEHPK3PXP");
  expect(screen.getByTitle("QR code of the secret")).toBeTruthy();
  await userEvent.type(screen.getByLabelText("A code that it shows"), "123456");
  await userEvent.click(screen.getByRole("button", { name: "Switch on" }));
  await screen.findByText(/aaaa-bbbb-cccc-dddd/);
  expect(world.factor).toBe("on");
  await userEvent.click(screen.getByRole("button", { name: "I have kept them" }));
  await screen.findByText(/10 recovery codes are left/);
  expect(screen.queryByText(/aaaa-bbbb/)).toBeNull();
});

test("a second factor is switched off with the password and a code", async () => {
  const world = new World();
  world.factor = "on";
  showPage("/account", world);
  await userEvent.click(await screen.findByRole("button", { name: "Switch off" }));
  await userEvent.type(screen.getByLabelText("Password"), "right");
  await userEvent.type(screen.getByLabelText("Code"), "123456");
  await userEvent.click(screen.getByRole("button", { name: "Switch off" }));
  await screen.findByRole("button", { name: "Set up" });
  expect(world.factor).toBe("none");
});

test("browsers that are signed in are listed, and others are signed out", async () => {
  const world = new World();
  const at = new Date().toISOString();
  const common = { began_at: at, used_at: at, expires_at: at };
  world.sessions = [
    { id: "session-1", address: "10.0.0.1", browser: "Firefox on Linux", is_this: true, ...common },
    { id: "session-2", address: "10.0.0.2", browser: "Safari on iPhone", is_this: false, ...common },
    { id: "session-3", address: "10.0.0.3", browser: "", is_this: false, ...common },
  ];
  showPage("/account", world);
  const own = (await screen.findByText("Firefox on Linux")).closest("tr")!;
  expect(own.textContent).toContain("This browser");
  expect(within(own).queryByRole("button")).toBeNull();
  await userEvent.click(screen.getByRole("button", { name: "Sign out Safari on iPhone" }));
  await userEvent.click(within(await screen.findByRole("dialog")).getByRole("button", { name: "Sign out" }));
  await waitFor(() => expect(screen.queryByText("Safari on iPhone")).toBeNull());
  await userEvent.click(screen.getByRole("button", { name: "Sign out all others" }));
  await userEvent.click(within(await screen.findByRole("dialog")).getByRole("button", { name: "Sign out" }));
  await waitFor(() => expect(screen.queryByText("Unknown browser")).toBeNull());
  expect(screen.queryByRole("button", { name: "Sign out all others" })).toBeNull();
});

test("tokens are listed without those revoked, made with a secret shown once, and revoked", async () => {
  const world = new World();
  world.tokens = [aToken("laptop"), { ...aToken("gone"), revoked_at: new Date().toISOString() }];
  showPage("/account", world);
  const row = (await screen.findByText("laptop")).closest("tr")!;
  expect(row.textContent).toContain("read and write");
  expect(row.textContent).toContain("never");
  expect(screen.queryByText("gone")).toBeNull();
  await userEvent.click(screen.getByRole("button", { name: "Make a token" }));
  const dialog = await screen.findByRole("dialog");
  await userEvent.type(within(dialog).getByLabelText("What it is for"), "notebook");
  await userEvent.click(within(dialog).getByRole("button", { name: "Make a token" }));
  await screen.findByText("flx_secret");
  await userEvent.click(screen.getByRole("button", { name: "Done" }));
  await userEvent.click(await screen.findByRole("button", { name: "Revoke laptop" }));
  await userEvent.click(within(await screen.findByRole("dialog")).getByRole("button", { name: "Revoke" }));
  await waitFor(() => expect(screen.queryByText("laptop")).toBeNull());
});

test("a terminal is signed in only after its code was typed and what it gets was seen", async () => {
  const { requests } = showPage("/connect");
  const decided = () => requests.filter((one) => one.url.endsWith("/sign-ins/decide"));
  await userEvent.type(await screen.findByLabelText("Code"), "WRONG");
  await userEvent.click(screen.getByRole("button", { name: "Next" }));
  expect((await screen.findByRole("alert")).textContent).toContain("No terminal waits");
  await userEvent.clear(screen.getByLabelText("Code"));
  await userEvent.type(screen.getByLabelText("Code"), "BCDF-GHJK");
  await userEvent.click(screen.getByRole("button", { name: "Next" }));
  await screen.findByText("desk");
  for (const fact of ["192.0.2.7", "see and change all that you may", "90 days", "ana · Example Lab"])
    expect(screen.getByText(fact)).toBeTruthy();
  expect(decided()).toHaveLength(0);
  await userEvent.click(screen.getByRole("button", { name: "Sign it in" }));
  await screen.findByText(/desk is signed in/);
  expect(await decided()[0]!.json()).toEqual({ code: "BCDF-GHJK", grant: true });
});

test("a terminal is refused", async () => {
  const { requests } = showPage("/connect");
  await userEvent.type(await screen.findByLabelText("Code"), "BCDF-GHJK");
  await userEvent.click(screen.getByRole("button", { name: "Next" }));
  await userEvent.click(await screen.findByRole("button", { name: "Refuse" }));
  await screen.findByText("desk was refused.");
  const decided = requests.find((one) => one.url.endsWith("/sign-ins/decide"))!;
  expect(await decided.json()).toEqual({ code: "BCDF-GHJK", grant: false });
});

test("an announcement is shown with its level, as text, and stays closed", async () => {
  const world = new World();
  const at = { starts_at: new Date().toISOString(), ends_at: new Date().toISOString() };
  world.announcements = [
    { id: "ann-1", text: "<b>Rack 3</b> is away", level: "urgent", ...at },
    { id: "ann-2", text: "Lunch", level: "info", ...at },
  ];
  const first = showPage("/teams", world);
  const shown = (await screen.findByText(/<b>Rack 3<.b> is away/)).closest("[data-level]")!;
  expect(shown.getAttribute("role")).toBe("alert");
  expect(shown.textContent).toContain("Urgent:");
  await userEvent.click(within(shown as HTMLElement).getByRole("button", { name: "Close this notice" }));
  expect(screen.queryByText(/Rack 3/)).toBeNull();
  first.unmount();
  showPage("/teams", world);
  await screen.findByText(/Lunch/);
  expect(screen.queryByText(/Rack 3/)).toBeNull();
});

test("a pipeline is trusted by repository and branch, and the example names the rule", async () => {
  const { world, requests } = showPage("/teams");
  const team = world.teams[0]!;
  await userEvent.click(await screen.findByRole("button", { name: `Trust a pipeline in ${team.name}` }));
  const dialog = await screen.findByRole("dialog");
  await userEvent.type(within(dialog).getByLabelText("Repository"), "acme/train");
  await userEvent.type(within(dialog).getByLabelText("Branch"), "main");
  await userEvent.click(within(dialog).getByRole("button", { name: "Trust it" }));
  const example = await screen.findByText(/flexai login --oidc/);
  expect(example.textContent).toContain("--rule trust-1");
  expect(example.textContent!.split("\n")).toHaveLength(5);
  const posted = requests.filter((one) => one.method === "POST");
  const rule = await posted.find((one) => one.url.endsWith("/trust-rules"))!.json();
  expect(rule.claims).toEqual({ repository: "acme/train", ref: "refs/heads/main" });
  expect(rule.issuer).toBe("https://token.actions.githubusercontent.com");
  const account = await posted.find((one) => one.url.endsWith("/service-accounts"))!.json();
  expect(account).toEqual({ name: "ci", role: "member", team: team.name });
});

test("a secret is set, named in a spec and removed, and its value is sent and never shown", async () => {
  const { world, requests } = showPage("/teams");
  const team = world.teams[0]!;
  await userEvent.click(await screen.findByRole("button", { name: `Set a secret of ${team.name}` }));
  const dialog = await screen.findByRole("dialog");
  await userEvent.type(within(dialog).getByLabelText("Name"), "HF_TOKEN");
  await userEvent.type(within(dialog).getByLabelText("Value"), "hf_one{enter}two");
  await userEvent.click(within(dialog).getByRole("button", { name: "Set it" }));
  const place = await screen.findByRole("region", { name: `Secrets of ${team.name}` });
  await within(place).findByText("HF_TOKEN");
  expect(document.body.textContent).not.toContain("hf_one");
  const sent = requests.find((one) => one.method === "PUT")!;
  expect(new URL(sent.url).pathname).toBe(`/api/v1/teams/${team.id}/secrets/HF_TOKEN`);
  expect(await sent.json()).toEqual({ value: "hf_one\ntwo" });
  await userEvent.click(within(place).getByRole("button", { name: "Remove HF_TOKEN" }));
  await userEvent.click(within(await screen.findByRole("dialog")).getByRole("button", { name: "Remove" }));
  await waitFor(() => expect(within(place).queryByText("HF_TOKEN")).toBeNull());
});

test("the form of a job offers the secrets of its team and writes their names", async () => {
  const world = new World();
  const set_at = new Date(world.now).toISOString();
  world.secrets = [
    { id: "secret-1", name: "HF_TOKEN", team: "vision", set_by: "ana", set_at, used_at: null },
  ];
  const { requests } = showPage("/submit", world);
  const [field] = await screen.findAllByLabelText("Secrets");
  await userEvent.click(field!);
  await userEvent.click(await screen.findByText("HF_TOKEN"));
  await waitFor(async () => {
    const checked = requests.filter((one) => one.method === "POST").at(-1);
    expect(await checked?.clone().json()).toMatchObject({ secrets: ["HF_TOKEN"] });
  });
});
