/** Live logs: from the end, following, one replica at a time, as long as one likes backwards. */

import { Button, Select, Switch, TextInput } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconDownload, IconSearch } from "@tabler/icons-react";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import { asProblem } from "../../api/problem";
import type { JobDetail } from "../../api/types";
import { visible } from "../../ui/ansi";
import { Empty, Failed, Loading } from "../../ui/Faces";
import { bytes, count } from "../../ui/format";
import { LogView } from "../../ui/LogView";
import { Panel } from "../../ui/Panel";
import { download } from "./download";
import classes from "./JobPage.module.css";
import { byId } from "./queries";
import { useLogTail } from "./useLogTail";

export default function LogsTab({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  const search = useSearch({ from: "/shell/jobs/$id" });
  const attempt = search.attempt ?? job.attempt;
  if (job.attempts.length === 0) {
    return (
      <Panel flush>
        <Empty icon={<IconSearch size={26} stroke={1.6} />} title={t("logs.notYet")}>
          {t("logs.notYetHelp")}
        </Empty>
      </Panel>
    );
  }
  return (
    <Replica
      key={`${attempt}-${search.replica ?? 0}`}
      job={job}
      attempt={attempt}
      replica={search.replica ?? 0}
    />
  );
}

function Replica({ job, attempt, replica }: { job: JobDetail; attempt: number; replica: number }) {
  const { t } = useTranslation();
  const tail = useLogTail(job.id, attempt, replica);
  const [follow, setFollow] = useState(true);
  const [wrap, setWrap] = useState(false);
  const [find, setFind] = useState("");
  const loadingEarlier = useRef(false);
  const { lines } = tail.buffer;
  async function earlier() {
    if (loadingEarlier.current) return;
    loadingEarlier.current = true;
    await tail.earlier().catch(() => false);
    loadingEarlier.current = false;
  }
  return (
    <Panel flush label={t("logs.title")}>
      <div className={classes.logbar}>
        <Which job={job} attempt={attempt} replica={replica} />
        <Find text={find} changed={setFind} lines={lines} />
        <Switch
          size="sm"
          label={t("logs.follow")}
          checked={follow}
          onChange={(event) => setFollow(event.currentTarget.checked)}
        />
        <Switch
          size="sm"
          label={t("logs.wrap")}
          checked={wrap}
          onChange={(event) => setWrap(event.currentTarget.checked)}
        />
        <span className={`${classes.state} ${classes.right} num`} data-testid="log-state">
          {tail.ended ? t("logs.complete") : t("logs.live")} · {bytes(tail.size)} ·{" "}
          {t("logs.lines", { lines: count(lines.length) })}
        </span>
        <Download job={job} attempt={attempt} replica={replica} />
      </div>
      {!tail.loaded && !tail.error ? (
        <Loading />
      ) : tail.error && lines.length === 0 ? (
        <Failed error={tail.error} retry={() => void tail.pump()} />
      ) : tail.size === 0 ? (
        <Empty icon={<IconSearch size={26} stroke={1.6} />} title={t("logs.nothing")}>
          {tail.ended ? t("logs.nothingEver") : t("logs.nothingYet")}
        </Empty>
      ) : (
        <LogView
          lines={lines}
          follow={follow}
          onFollow={setFollow}
          wrap={wrap}
          find={find}
          hasEarlier={tail.buffer.start > 0}
          onEarlier={() => void earlier()}
        />
      )}
    </Panel>
  );
}

function Which({ job, attempt, replica }: { job: JobDetail; attempt: number; replica: number }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const replicas = job.attempts.find((one) => one.number === attempt)?.replicas ?? [];
  const go = (change: object) =>
    void navigate({ to: ".", search: (old) => ({ ...old, ...change }), replace: true });
  return (
    <>
      {job.attempts.length > 1 && (
        <Select
          size="xs"
          w={140}
          aria-label={t("logs.attempt")}
          allowDeselect={false}
          value={String(attempt)}
          data={job.attempts.map(({ number }) => ({
            value: String(number),
            label: t("job.attempt", { number }),
          }))}
          onChange={(value) => go({ attempt: Number(value), replica: undefined })}
        />
      )}
      <Select
        size="xs"
        w={190}
        aria-label={t("logs.replica")}
        allowDeselect={false}
        searchable={replicas.length > 8}
        value={String(replica)}
        data={replicas.map(({ index, node }) => ({
          value: String(index),
          label: `${t("job.replica", { index })} · ${node}`,
        }))}
        onChange={(value) => go({ replica: Number(value) })}
      />
    </>
  );
}

function Find({
  text,
  changed,
  lines,
}: {
  text: string;
  changed: (text: string) => void;
  lines: readonly string[];
}) {
  const { t } = useTranslation();
  const found = text
    ? lines.filter((line) => visible(line).toLowerCase().includes(text.toLowerCase())).length
    : 0;
  return (
    <TextInput
      size="xs"
      w={220}
      type="search"
      aria-label={t("logs.find")}
      placeholder={t("logs.find")}
      leftSection={<IconSearch size={14} />}
      value={text}
      onChange={(event) => changed(event.currentTarget.value)}
      rightSectionWidth={52}
      rightSection={text ? <small className="quiet num">{count(found)}</small> : null}
    />
  );
}

function Download({ job, attempt, replica }: { job: JobDetail; attempt: number; replica: number }) {
  const { t } = useTranslation();
  const [busy, setBusy] = useState(false);
  async function save() {
    setBusy(true);
    const read = (offset: number, limit_bytes: number) =>
      body(
        api.GET("/api/v1/jobs/{id}/logs", {
          params: { ...byId(job.id).params, query: { attempt, replica, offset, limit_bytes } },
        }),
      );
    try {
      await download(`${job.name}-${attempt}-${replica}.log`, read);
    } catch (error) {
      notifications.show({
        color: "red",
        title: t("logs.downloadFailed"),
        message: asProblem(error).message,
      });
    }
    setBusy(false);
  }
  return (
    <Button
      size="xs"
      variant="default"
      loading={busy}
      leftSection={<IconDownload size={14} />}
      onClick={() => void save()}
    >
      {t("logs.download")}
    </Button>
  );
}
