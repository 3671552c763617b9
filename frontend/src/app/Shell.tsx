/** The frame of every page: where one is, for which team, and whether what one sees is live. */

import { ActionIcon, Kbd, Menu, Select, Tooltip } from "@mantine/core";
import {
  IconAffiliate,
  IconCalendarTime,
  IconCpu,
  IconHome,
  IconListDetails,
  IconLogout,
  IconPlus,
  IconSearch,
  IconSettings,
  IconShieldLock,
  IconSwitchHorizontal,
  IconUserCircle,
} from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body, query } from "../api/client";
import { useJobFeed, usePolling } from "../api/live";
import { useMe } from "../api/session";
import { live } from "../api/socket";
import { count } from "../ui/format";
import { ConnectionBadge } from "./ConnectionBadge";
import { Notices } from "./Notices";
import classes from "./Shell.module.css";
import { ThemeToggle } from "./ThemeToggle";

const Palette = lazy(() => import("./Palette"));

export function Shell() {
  const { t } = useTranslation();
  useLiveTeams();
  const palette = usePaletteKey();
  return (
    <div className={classes.shell}>
      <a className={classes.skip} href="#main">
        {t("shell.skip")}
      </a>
      <header className={classes.top}>
        <Link to="/" className={classes.brand} aria-label="Flexai">
          <Mark />
          <span>Flexai</span>
        </Link>
        <TeamSwitcher />
        <span className={classes.grow} />
        <button type="button" className={classes.search} onClick={palette.open}>
          <IconSearch size={15} aria-hidden />
          <span>{t("shell.search")}</span>
          <Kbd size="xs">Ctrl K</Kbd>
        </button>
        <ConnectionBadge />
        <ThemeToggle />
        <UserMenu />
      </header>
      <Navigation />
      <main id="main" className={classes.main} tabIndex={-1}>
        <Notices />
        <Outlet />
      </main>
      {palette.wanted && (
        <Suspense>
          <Palette />
        </Suspense>
      )}
    </div>
  );
}

/** Follow the jobs of every team of the user, for as long as the shell is shown. */
function useLiveTeams(): void {
  const { teams } = useMe();
  const feed = useJobFeed();
  const ids = teams.map((team) => team.id).join(" ");
  useEffect(() => {
    live.start();
    const stops = ids
      .split(" ")
      .filter(Boolean)
      .map((id) => live.subscribe(`team:${id}:jobs`, feed.receive));
    return () => {
      for (const stop of stops) stop();
    };
  }, [ids, feed]);
}

/** The palette is fetched when first asked for. */
function usePaletteKey() {
  const [wanted, setWanted] = useState(false);
  const open = () => {
    if (wanted) void import("@mantine/spotlight").then(({ spotlight }) => spotlight.open());
    setWanted(true);
  };
  useEffect(() => {
    if (wanted) return;
    const pressed = (event: KeyboardEvent) => {
      if (event.key !== "k" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      setWanted(true);
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, [wanted]);
  return { wanted, open };
}

function Mark() {
  return (
    <svg width="26" height="26" viewBox="0 0 32 32" aria-hidden="true" className={classes.mark}>
      <rect width="32" height="32" rx="8" />
      <path
        d="M8 9.6A1.6 1.6 0 0 1 9.6 8h3.8A1.6 1.6 0 0 1 15 9.6v3.8a1.6 1.6 0 0 1-1.6 1.6H9.6A1.6 1.6 0 0 1 8 13.4z"
        fill="#fff"
      />
      <rect x="17" y="8" width="7" height="7" rx="1.6" fill="#fff" opacity=".5" />
      <rect x="8" y="17" width="7" height="7" rx="1.6" fill="#fff" opacity=".5" />
      <rect x="17" y="17" width="7" height="7" rx="1.6" fill="#ffe066" />
    </svg>
  );
}

function TeamSwitcher() {
  const { t } = useTranslation();
  const me = useMe();
  const { team } = useSearch({ strict: false });
  const navigate = useNavigate();
  return (
    <Select
      className={classes.team}
      size="sm"
      aria-label={t("shell.team")}
      data={[
        { group: me.organization.name, items: [{ value: "", label: t("shell.allTeams") }] },
        { group: t("shell.teams"), items: me.teams.map(({ id, name }) => ({ value: id, label: name })) },
      ]}
      value={team ?? ""}
      allowDeselect={false}
      comboboxProps={{ shadow: "md" }}
      onChange={(value) =>
        void navigate({ to: ".", search: (old) => ({ ...old, team: value || undefined }) })
      }
    />
  );
}

function Navigation() {
  const { t } = useTranslation();
  const { team } = useSearch({ strict: false });
  const counts = query.useQuery(
    "get",
    "/api/v1/jobs/counts",
    { params: { query: { team } } },
    { refetchInterval: usePolling() },
  );
  const open = (counts.data?.running ?? 0) + (counts.data?.queued ?? 0) + (counts.data?.starting ?? 0);
  const me = useMe();
  return (
    <nav className={classes.nav} aria-label={t("shell.navigation")}>
      <Link to="/" activeOptions={{ exact: true, includeSearch: false }} className={classes.item}>
        <IconHome size={18} stroke={1.7} aria-hidden /> <span>{t("nav.overview")}</span>
      </Link>
      <Link to="/jobs" activeOptions={{ includeSearch: false }} className={classes.item}>
        <IconListDetails size={18} stroke={1.7} aria-hidden /> <span>{t("nav.jobs")}</span>
        {open > 0 && (
          <Tooltip label={t("nav.openJobs")}>
            <b className={`${classes.count} num`}>{count(open)}</b>
          </Tooltip>
        )}
      </Link>
      <Link to="/submit" activeOptions={{ includeSearch: false }} className={classes.item}>
        <IconPlus size={18} stroke={1.7} aria-hidden /> <span>{t("nav.submit")}</span>
      </Link>
      <Link to="/schedules" activeOptions={{ includeSearch: false }} className={classes.item}>
        <IconCalendarTime size={18} stroke={1.7} aria-hidden /> <span>{t("nav.schedules")}</span>
      </Link>
      <Link to="/cluster" activeOptions={{ includeSearch: false }} className={classes.item}>
        <IconCpu size={18} stroke={1.7} aria-hidden /> <span>{t("nav.cluster")}</span>
      </Link>
      <Link to="/teams" activeOptions={{ includeSearch: false }} className={classes.item}>
        <IconAffiliate size={18} stroke={1.7} aria-hidden /> <span>{t("nav.teams")}</span>
      </Link>
      {me.user.is_operator && (
        <a href="/console/" className={classes.item}>
          <IconSettings size={18} stroke={1.7} aria-hidden /> <span>{t("nav.console")}</span>
        </a>
      )}
    </nav>
  );
}

function UserMenu() {
  const { t } = useTranslation();
  const me = useMe();
  const client = useQueryClient();
  const navigate = useNavigate();
  async function act(organization: string) {
    await body(api.PUT("/api/v1/me/organization", { body: { organization } }));
    // The page begins anew: nothing that it knows of the other organization may stay on it.
    window.location.assign("/");
  }
  async function leave() {
    await api.DELETE("/api/v1/session");
    live.stop();
    client.clear();
    await navigate({ to: "/login", search: { next: undefined } });
  }
  return (
    <Menu shadow="md" width={220} position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="default" size={34} aria-label={t("shell.account", { name: me.user.username })}>
          <IconUserCircle size={18} stroke={1.7} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {me.user.username} · {me.organization.name}
        </Menu.Label>
        {me.organizations
          .filter(({ id }) => id !== me.organization.id)
          .map(({ id, name }) => (
            <Menu.Item key={id} leftSection={<IconSwitchHorizontal size={16} />} onClick={() => void act(id)}>
              {t("shell.actIn", { name })}
            </Menu.Item>
          ))}
        <Menu.Item
          leftSection={<IconShieldLock size={16} />}
          onClick={() => void navigate({ to: "/account" })}
        >
          {t("nav.account")}
        </Menu.Item>
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => void leave()}>
          {t("shell.leave")}
        </Menu.Item>
        <Menu.Divider />
        <Menu.Label>Flexai {me.version}</Menu.Label>
      </Menu.Dropdown>
    </Menu>
  );
}
