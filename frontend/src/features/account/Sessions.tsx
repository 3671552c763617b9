/** Where one is signed in by browser; each can be ended, and all others at once. */

import { Button } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api, query } from "../../api/client";
import type { BrowserSession } from "../../api/types";
import { type Column, DataTable } from "../../ui/DataTable";
import { Failed, Loading } from "../../ui/Faces";
import { ago, dateTime } from "../../ui/format";
import { Panel } from "../../ui/Panel";
import { TypedConfirm } from "../../ui/TypedConfirm";
import { useNow } from "../../ui/useNow";
import classes from "./AccountPage.module.css";

const PATH = "/api/v1/me/sessions";

export function Sessions() {
  const { t } = useTranslation();
  const client = useQueryClient();
  const found = query.useQuery("get", PATH);
  const [asking, setAsking] = useState<BrowserSession | "others" | null>(null);
  const sessions = found.data?.items;
  async function end() {
    if (asking === "others") await api.POST("/api/v1/me/sessions/end-others");
    else if (asking) await api.DELETE("/api/v1/me/sessions/{id}", { params: { path: { id: asking.id } } });
    await client.invalidateQueries({ queryKey: ["get", PATH] });
  }
  return (
    <Panel
      flush
      title={t("sessions.title")}
      aside={
        sessions?.some((one) => !one.is_this) ? (
          <Button size="xs" variant="default" onClick={() => setAsking("others")}>
            {t("sessions.endOthers")}
          </Button>
        ) : undefined
      }
    >
      {found.isPending ? (
        <Loading rows={2} />
      ) : !sessions ? (
        <Failed error={found.error} retry={() => void found.refetch()} />
      ) : (
        <Rows sessions={sessions} ask={setAsking} />
      )}
      {asking && (
        <TypedConfirm
          title={
            asking === "others" ? t("sessions.endOthers") : t("sessions.endOne", { name: nameOf(asking, t) })
          }
          confirmLabel={t("sessions.end")}
          confirm={end}
          close={() => setAsking(null)}
        >
          {t("sessions.endHelp")}
        </TypedConfirm>
      )}
    </Panel>
  );
}

function Rows({ sessions, ask }: { sessions: BrowserSession[]; ask: (session: BrowserSession) => void }) {
  const { t } = useTranslation();
  const now = useNow(60_000);
  const columns: Column<BrowserSession>[] = [
    {
      key: "browser",
      title: t("sessions.browser"),
      render: (one) => (
        <span className={classes.name}>
          <b>{nameOf(one, t)}</b>
          <small className="quiet mono">{one.address}</small>
        </span>
      ),
    },
    {
      key: "used",
      title: t("sessions.used"),
      render: (one) => (
        <span title={dateTime(one.used_at)}>{one.is_this ? t("sessions.this") : ago(one.used_at, now)}</span>
      ),
    },
    { key: "began", title: t("sessions.began"), render: (one) => dateTime(one.began_at), from: 900 },
    {
      key: "do",
      title: "",
      align: "right",
      render: (one) =>
        one.is_this ? null : (
          <Button
            size="compact-sm"
            variant="default"
            aria-label={t("sessions.endOne", { name: nameOf(one, t) })}
            onClick={() => ask(one)}
          >
            {t("sessions.end")}
          </Button>
        ),
    },
  ];
  return <DataTable label={t("sessions.title")} columns={columns} rows={sessions} rowKey={(one) => one.id} />;
}

function nameOf(session: BrowserSession, t: ReturnType<typeof useTranslation>["t"]): string {
  return session.browser || t("sessions.unknown");
}
