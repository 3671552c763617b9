/** Every job one may see: live, filtered and sorted by the server. */

import { Button, SegmentedControl, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconArrowUp, IconListDetails, IconPlus, IconSearch, IconUser, IconX } from "@tabler/icons-react";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { useMe } from "../../api/session";
import type { Job } from "../../api/types";
import { DataTable } from "../../ui/DataTable";
import { Empty, Failed, Loading, NoMatch } from "../../ui/Faces";
import { count } from "../../ui/format";
import { ButtonLink } from "../../ui/links";
import { PageHead, Panel } from "../../ui/Panel";
import { BulkStop } from "./BulkStop";
import { useJobColumns } from "./columns";
import classes from "./JobsPage.module.css";
import { useCounts, useJobs } from "./queries";
import { useSelection } from "./selection";
import { TABS, tabOf } from "./tabs";

export function JobsPage() {
  const { t } = useTranslation();
  const search = useSearch({ from: "/shell/jobs" });
  const navigate = useNavigate();
  const selection = useSelection();
  const [hovered, setHovered] = useState(false);
  const scrolled = useScrolled();
  const filters = { ...search, sort: search.sort ?? "-submitted_at" };
  const jobs = useJobs(filters, hovered || scrolled || selection.size > 0);
  const columns = useJobColumns();
  const filtered = Boolean(search.status || search.q || search.user || search.set);
  const set = (change: object) =>
    void navigate({ to: "/jobs", search: (old) => ({ ...old, ...change }), replace: true });

  return (
    <>
      <PageHead title={t("jobs.title")} sub={<Subtitle />}>
        <ButtonLink to="/submit" leftSection={<IconPlus size={17} />}>
          {t("nav.submit")}
        </ButtonLink>
      </PageHead>
      <Panel flush label={t("jobs.title")}>
        <Filters />
        {selection.size > 0 && (
          <BulkStop jobs={jobs.rows.filter((job) => selection.has(job.id))} done={selection.clear} />
        )}
        {jobs.added > 0 && (
          <button type="button" className={classes.news} onClick={jobs.showAdded}>
            <IconArrowUp size={14} aria-hidden /> {t("jobs.news", { count: jobs.added })}
          </button>
        )}
        {/* biome-ignore lint/a11y/noStaticElementInteractions: only notes whether somebody is at work in the list */}
        <div onMouseEnter={() => setHovered(true)} onMouseLeave={() => setHovered(false)}>
          {jobs.isPending ? (
            <Loading />
          ) : jobs.isError && jobs.rows.length === 0 ? (
            <Failed error={jobs.error} retry={() => void jobs.refetch()} />
          ) : jobs.rows.length === 0 ? (
            filtered ? (
              <NoMatch
                clear={() => set({ status: undefined, q: undefined, user: undefined, set: undefined })}
              />
            ) : (
              <NoJobs />
            )
          ) : (
            <DataTable<Job>
              label={t("jobs.title")}
              columns={columns}
              rows={jobs.rows}
              rowKey={(job) => job.id}
              onOpen={(job) => void navigate({ to: "/jobs/$id", params: { id: job.id } })}
              sort={filters.sort}
              onSort={(sort) => set({ sort })}
              selection={selection.of(jobs.rows.map((job) => job.id))}
            />
          )}
          {jobs.hasNextPage && (
            <div className={classes.more}>
              <Button
                variant="default"
                size="xs"
                loading={jobs.isFetchingNextPage}
                onClick={() => void jobs.fetchNextPage()}
              >
                {t("table.more")}
              </Button>
            </div>
          )}
        </div>
      </Panel>
    </>
  );
}

function Subtitle() {
  const { t } = useTranslation();
  const me = useMe();
  const { team } = useSearch({ from: "/shell/jobs" });
  const name = me.teams.find(({ id }) => id === team)?.name;
  return (
    <>
      {name ? t("jobs.ofTeam") : t("jobs.ofAll")} <strong>{name ?? me.organization.name}</strong>
    </>
  );
}

function Filters() {
  const { t } = useTranslation();
  const { status, team, user, q, set: jobSet } = useSearch({ from: "/shell/jobs" });
  const me = useMe();
  const navigate = useNavigate();
  const counts = useCounts({ team, user, q }).data ?? {};
  const set = (change: object) =>
    void navigate({ to: "/jobs", search: (old) => ({ ...old, ...change }), replace: true });
  const sum = (statuses: readonly string[]) =>
    statuses.length === 0
      ? Object.values(counts).reduce((all, one) => all + one, 0)
      : statuses.reduce((all, one) => all + (counts[one] ?? 0), 0);
  return (
    <div className={classes.filters}>
      <SegmentedControl
        size="sm"
        aria-label={t("jobs.status")}
        value={tabOf(status)}
        onChange={(key) =>
          set({ status: TABS.find((tab) => tab.key === key)?.statuses.join(",") || undefined })
        }
        data={TABS.map(({ key, statuses }) => ({
          value: key,
          label: (
            <span className={classes.tab}>
              {t(`jobs.tabs.${key}`)} <b className="num">{count(sum(statuses))}</b>
            </span>
          ),
        }))}
      />
      <span className={classes.grow} />
      {jobSet && (
        <Button
          size="xs"
          variant="default"
          rightSection={<IconX size={13} />}
          onClick={() => set({ set: undefined })}
        >
          {t("jobs.set", { set: jobSet })}
        </Button>
      )}
      <Button
        size="sm"
        variant={user ? "filled" : "default"}
        aria-pressed={Boolean(user)}
        leftSection={<IconUser size={15} />}
        onClick={() => set({ user: user ? undefined : me.user.username })}
      >
        {user && user !== me.user.username ? user : t("jobs.mine")}
      </Button>
      <SearchBox text={q ?? ""} changed={(text) => set({ q: text || undefined })} />
    </div>
  );
}

function SearchBox({ text, changed }: { text: string; changed: (text: string) => void }) {
  const { t } = useTranslation();
  const [value, setValue] = useState(text);
  const later = useDebouncedCallback(changed, 250);
  useEffect(() => setValue(text), [text]);
  return (
    <TextInput
      className={classes.search}
      size="sm"
      type="search"
      aria-label={t("jobs.search")}
      placeholder={t("jobs.search")}
      leftSection={<IconSearch size={15} />}
      value={value}
      onChange={(event) => {
        setValue(event.currentTarget.value);
        later(event.currentTarget.value);
      }}
    />
  );
}

function NoJobs() {
  const { t } = useTranslation();
  return (
    <Empty
      icon={<IconListDetails size={26} stroke={1.6} />}
      title={t("jobs.empty")}
      action={
        <ButtonLink to="/submit" size="xs" leftSection={<IconPlus size={14} />}>
          {t("nav.submit")}
        </ButtonLink>
      }
    >
      {t("jobs.emptyHelp")}
    </Empty>
  );
}

/** Whether the page is scrolled away from its top: then rows must not be pushed in above. */
function useScrolled(): boolean {
  const [scrolled, setScrolled] = useState(false);
  useEffect(() => {
    const look = () => setScrolled(window.scrollY > 120);
    window.addEventListener("scroll", look, { passive: true });
    return () => window.removeEventListener("scroll", look);
  }, []);
  return scrolled;
}
