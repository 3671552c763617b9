/** The tokens that act in one's name: what each may do, when it was last used, and its end. */

import { Button } from "@mantine/core";
import { IconKey, IconPlus } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api, query } from "../../api/client";
import type { Token } from "../../api/types";
import { type Column, DataTable } from "../../ui/DataTable";
import { Empty, Failed, Loading } from "../../ui/Faces";
import { ago, dateTime, duration } from "../../ui/format";
import { Panel } from "../../ui/Panel";
import { TypedConfirm } from "../../ui/TypedConfirm";
import { useNow } from "../../ui/useNow";
import classes from "./AccountPage.module.css";
import { NewToken } from "./NewToken";

const PATH = "/api/v1/tokens";

export function Tokens() {
  const { t } = useTranslation();
  const client = useQueryClient();
  const found = query.useQuery("get", PATH, { params: { query: { limit: 200 } } });
  const [making, setMaking] = useState(false);
  const live = found.data?.items.filter((token) => token.revoked_at === null);
  const reread = () => client.invalidateQueries({ queryKey: ["get", PATH] });
  return (
    <Panel
      flush
      title={t("tokens.title")}
      aside={
        <Button
          size="xs"
          variant="default"
          leftSection={<IconPlus size={14} />}
          onClick={() => setMaking(true)}
        >
          {t("tokens.make")}
        </Button>
      }
    >
      {found.isPending ? (
        <Loading rows={3} />
      ) : !live ? (
        <Failed error={found.error} retry={() => void found.refetch()} />
      ) : live.length === 0 ? (
        <Empty icon={<IconKey size={26} stroke={1.6} />} title={t("tokens.empty")}>
          {t("tokens.emptyHelp")}
        </Empty>
      ) : (
        <Rows tokens={live} reread={reread} />
      )}
      {making && <NewToken made={reread} close={() => setMaking(false)} />}
    </Panel>
  );
}

function Rows({ tokens, reread }: { tokens: Token[]; reread: () => Promise<void> }) {
  const { t } = useTranslation();
  const now = useNow(60_000);
  const [asking, setAsking] = useState<Token | null>(null);
  const columns: Column<Token>[] = [
    {
      key: "name",
      title: t("tokens.name"),
      render: (token) => (
        <span className={classes.name}>
          <b>{token.name}</b>
          <small className="quiet mono">{token.id}</small>
        </span>
      ),
    },
    { key: "scopes", title: t("tokens.scopes"), render: (token) => scopesOf(token, t), from: 700 },
    { key: "used", title: t("tokens.used"), render: (token) => usedOf(token, now, t), from: 900 },
    {
      key: "ends",
      title: t("tokens.ends"),
      render: (token) => <span title={dateTime(token.expires_at)}>{endOf(token, now, t)}</span>,
    },
    {
      key: "do",
      title: "",
      align: "right",
      render: (token) => (
        <Button
          size="compact-sm"
          variant="default"
          aria-label={t("tokens.revokeOne", { name: token.name })}
          onClick={() => setAsking(token)}
        >
          {t("tokens.revoke")}
        </Button>
      ),
    },
  ];
  return (
    <>
      <DataTable label={t("tokens.title")} columns={columns} rows={tokens} rowKey={(token) => token.id} />
      {asking && (
        <TypedConfirm
          title={t("tokens.revokeOne", { name: asking.name })}
          confirmLabel={t("tokens.revoke")}
          confirm={async () => {
            await api.DELETE("/api/v1/tokens/{id}", { params: { path: { id: asking.id } } });
            await reread();
          }}
          close={() => setAsking(null)}
        >
          {t("tokens.revokeHelp")}
        </TypedConfirm>
      )}
    </>
  );
}

type Translate = ReturnType<typeof useTranslation>["t"];

function scopesOf(token: Token, t: Translate): string {
  const may = t(token.scopes.includes("write") ? "tokens.readWrite" : "tokens.readOnly");
  return token.team ? t("tokens.inTeam", { may, team: token.team }) : may;
}

function usedOf(token: Token, now: number, t: Translate): string {
  return token.last_used_at ? ago(token.last_used_at, now) : t("tokens.never");
}

function endOf(token: Token, now: number, t: Translate): string {
  const left = Date.parse(token.expires_at) - now;
  return left > 0 ? t("tokens.in", { time: duration(left) }) : t("tokens.over");
}
