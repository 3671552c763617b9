/** Addresses that hear of what happens to jobs: who may manage them sees them, tries them, makes and removes them. */

import { Button, Group } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconWebhook } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body, query } from "../../api/client";
import { usePolling } from "../../api/live";
import { asProblem } from "../../api/problem";
import { useMe } from "../../api/session";
import type { Webhook } from "../../api/types";
import { type Column, DataTable } from "../../ui/DataTable";
import { Empty, Failed, Loading } from "../../ui/Faces";
import { ago } from "../../ui/format";
import { Panel } from "../../ui/Panel";
import { TypedConfirm } from "../../ui/TypedConfirm";
import { useNow } from "../../ui/useNow";
import { NewWebhook } from "./NewWebhook";
import classes from "./TeamsPage.module.css";

const REFRESH_MS = 5000;
const MANAGE: ReadonlySet<string> = new Set(["maintainer", "owner"]);
const WEBHOOKS = ["get", "/api/v1/webhooks"];

export function Webhooks() {
  const me = useMe();
  return me.teams.some(({ role }) => MANAGE.has(role)) ? <WebhooksPanel /> : null;
}

function WebhooksPanel() {
  const { t } = useTranslation();
  const [makes, setMakes] = useState(false);
  const options = { refetchInterval: Math.min(usePolling(), REFRESH_MS) };
  const found = query.useQuery("get", "/api/v1/webhooks", { params: { query: { limit: 200 } } }, options);
  return (
    <div className={classes.below}>
      <Panel
        flush
        title={t("webhooks.title")}
        label={t("webhooks.title")}
        aside={
          <Button size="compact-sm" variant="default" onClick={() => setMakes(true)}>
            {t("webhooks.new")}
          </Button>
        }
      >
        {found.isPending ? (
          <Loading />
        ) : !found.data ? (
          <Failed error={found.error} retry={() => void found.refetch()} />
        ) : found.data.items.length === 0 ? (
          <Empty icon={<IconWebhook size={26} stroke={1.6} />} title={t("webhooks.empty")}>
            {t("webhooks.emptyHelp")}
          </Empty>
        ) : (
          <Rows webhooks={found.data.items} />
        )}
      </Panel>
      {makes && <NewWebhook close={() => setMakes(false)} />}
    </div>
  );
}

function Rows({ webhooks }: { webhooks: Webhook[] }) {
  const { t } = useTranslation();
  const columns: Column<Webhook>[] = [
    { key: "name", title: t("webhooks.name"), render: (one) => <Name webhook={one} /> },
    { key: "url", title: t("webhooks.url"), render: (one) => <small>{one.url}</small>, from: 900 },
    { key: "events", title: t("webhooks.events"), render: (one) => <Events webhook={one} />, from: 1100 },
    { key: "last", title: t("webhooks.last"), render: (one) => <Last webhook={one} /> },
    { key: "do", title: "", render: (one) => <Doing webhook={one} />, align: "right" },
  ];
  return <DataTable label={t("webhooks.title")} columns={columns} rows={webhooks} rowKey={(one) => one.id} />;
}

function Name({ webhook }: { webhook: Webhook }) {
  const { t } = useTranslation();
  return (
    <span title={webhook.description || undefined}>
      <b>{webhook.name}</b> <small className="quiet">{webhook.team ?? t("webhooks.organization")}</small>
    </span>
  );
}

function Events({ webhook }: { webhook: Webhook }) {
  const { t } = useTranslation();
  return <small className="quiet">{webhook.events.join(", ") || t("webhooks.named")}</small>;
}

/** Why it hears nothing, or what came of its last message. */
function Last({ webhook }: { webhook: Webhook }) {
  const { t } = useTranslation();
  const now = useNow();
  const last = webhook.last_delivery;
  if (!webhook.on) return <small>{webhook.off_because || t("webhooks.off")}</small>;
  if (!last) return <small className="quiet">{t("webhooks.nothing")}</small>;
  return (
    <small title={last.answer || undefined}>
      {last.event} {t(`webhooks.states.${last.state}`)} <span className="quiet">{ago(last.at, now)}</span>
    </small>
  );
}

function Doing({ webhook }: { webhook: Webhook }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const [asks, setAsks] = useState(false);
  const path = { params: { path: { id: webhook.id } } };
  const again = () => client.invalidateQueries({ queryKey: WEBHOOKS });
  async function ping() {
    try {
      await body(api.POST("/api/v1/webhooks/{id}/ping", path));
      notifications.show({ message: t("webhooks.pinged", { name: webhook.name }) });
    } catch (error) {
      notifications.show({ color: "red", title: t("job.refused"), message: asProblem(error).message });
    }
    await again();
  }
  async function remove() {
    await api.DELETE("/api/v1/webhooks/{id}", path);
    await again();
  }
  return (
    <Group gap={8} justify="flex-end" wrap="nowrap">
      <Button size="compact-sm" variant="default" disabled={!webhook.on} onClick={() => void ping()}>
        {t("webhooks.ping")}
      </Button>
      <Button size="compact-sm" variant="default" onClick={() => setAsks(true)}>
        {t("webhooks.delete")}
      </Button>
      {asks && (
        <TypedConfirm
          title={t("webhooks.deleteTitle", { name: webhook.name })}
          confirmLabel={t("webhooks.delete")}
          confirm={remove}
          close={() => setAsks(false)}
        >
          {t("webhooks.deleteHelp")}
        </TypedConfirm>
      )}
    </Group>
  );
}
