/** Form and YAML over one model; on the right, what the server says of it before it is submitted. */

import { Button, Menu, SegmentedControl } from "@mantine/core";
import { IconChevronDown, IconTemplate } from "@tabler/icons-react";
import { useSearch } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { stringify } from "yaml";
import { query } from "../../api/client";
import { useMe } from "../../api/session";
import { Loading } from "../../ui/Faces";
import { PageHead, Panel } from "../../ui/Panel";
import { type Draft, draftOf, restored, withField, withText } from "./draft";
import { readPlain } from "./fields";
import { Rail } from "./Rail";
import { SpecForm } from "./SpecForm";
import classes from "./SubmitPage.module.css";
import { TEMPLATES } from "./templates";
import { useDryRun } from "./useDryRun";

const Editor = lazy(() => import("./Editor"));

export function SubmitPage() {
  const { t } = useTranslation();
  const me = useMe();
  const { from, team } = useSearch({ strict: false });
  const types = query.useQuery("get", "/api/v1/cluster").data?.types.map(({ type }) => type) ?? [];
  const teams = me.teams.map(({ name }) => name);
  const teamName = me.teams.find(({ id }) => id === team)?.name ?? teams[0] ?? "default";
  const [draft, setDraft] = useState(() => draftOf(TEMPLATES[0]!.yaml(teamName, "")));
  const [view, setView] = useState<"form" | "yaml" | "both">("both");
  const check = useDryRun(draft);
  const secrets = useSecrets(readPlain(draft.spec.team));
  useClone(from, setDraft);
  return (
    <>
      <PageHead title={t("submit.title")} sub={t("submit.sub")}>
        <Menu position="bottom-end" shadow="md">
          <Menu.Target>
            <Button
              variant="default"
              leftSection={<IconTemplate size={16} />}
              rightSection={<IconChevronDown size={14} />}
            >
              {t("submit.templates")}
            </Button>
          </Menu.Target>
          <Menu.Dropdown>
            {TEMPLATES.map(({ key, yaml }) => (
              <Menu.Item key={key} onClick={() => setDraft(draftOf(yaml(teamName, types[0] ?? "CPU")))}>
                {t(`submit.template.${key}`)}
              </Menu.Item>
            ))}
          </Menu.Dropdown>
        </Menu>
        <SegmentedControl
          aria-label={t("submit.view")}
          value={view}
          onChange={(value) => setView(value as typeof view)}
          data={(["form", "both", "yaml"] as const).map((value) => ({
            value,
            label: t(`submit.views.${value}`),
          }))}
        />
      </PageHead>
      <div className={classes.page} data-view={view}>
        {view !== "yaml" && (
          <Panel title={t("submit.form")} label={t("submit.form")}>
            <SpecForm
              spec={draft.spec}
              types={types}
              teams={teams}
              secrets={secrets}
              problems={check.problem?.errors ?? []}
              change={(path, value) => setDraft((old) => withField(old, path, value))}
            />
          </Panel>
        )}
        {view !== "form" && <YamlPanel draft={draft} change={setDraft} />}
        <Rail draft={draft} check={check} change={setDraft} />
      </div>
    </>
  );
}

function YamlPanel({ draft, change }: { draft: Draft; change: (change: (old: Draft) => Draft) => void }) {
  const { t } = useTranslation();
  const { trouble } = draft;
  return (
    <Panel flush title={t("submit.yaml")}>
      <Suspense fallback={<Loading rows={4} />}>
        <Editor
          text={draft.text}
          trouble={trouble}
          label={t("submit.yaml")}
          changed={(text) => change((old) => (text === old.text ? old : withText(old, text)))}
        />
      </Suspense>
      {trouble && (
        <div className={classes.trouble} role="alert">
          <span>{t("submit.trouble", { line: trouble.line, message: trouble.message })}</span>
          <Button size="xs" variant="default" onClick={() => change(restored)}>
            {t("submit.restore")}
          </Button>
        </div>
      )}
    </Panel>
  );
}

/** What jobs of the team of this name, or of one's only team, may name; nothing where that is not one's to know. */
function useSecrets(name: string): string[] {
  const { teams } = useMe();
  const team =
    teams.find((one) => one.name === name) ?? (name === "" && teams.length === 1 ? teams[0] : undefined);
  const found = query.useQuery(
    "get",
    "/api/v1/teams/{id}/secrets",
    { params: { path: { id: team?.id ?? "" }, query: { limit: 200 } } },
    { enabled: team !== undefined && team.role !== "viewer", retry: false },
  );
  return found.data?.items.map((one) => one.name) ?? [];
}

/** Starts from another job's spec, once, when the address names one. */
function useClone(from: string | undefined, setDraft: (draft: Draft) => void): void {
  const job = query.useQuery(
    "get",
    "/api/v1/jobs/{id}",
    { params: { path: { id: from ?? "" } } },
    { enabled: Boolean(from), staleTime: Number.POSITIVE_INFINITY },
  );
  const spec = job.data?.spec;
  useEffect(() => {
    if (spec) setDraft(draftOf(stringify(spec)));
  }, [spec, setDraft]);
}
