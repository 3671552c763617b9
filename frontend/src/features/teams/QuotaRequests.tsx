/** What a team asked for and what became of it; what may be done with it, the server says. */

import { Button, Group } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import type { TFunction } from "i18next";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import { asProblem } from "../../api/problem";
import type { QuotaRequest, Team } from "../../api/types";
import { milli } from "../../ui/format";
import { TypedConfirm } from "../../ui/TypedConfirm";
import { AskQuota } from "./AskQuota";
import classes from "./TeamsPage.module.css";

/** Beside those that wait for an answer, so many of the latest. */
const DECIDED_SHOWN = 3;
const ASKERS: ReadonlySet<string> = new Set(["maintainer", "owner"]);

export function QuotaRequests({ team, requests }: { team: Team; requests: QuotaRequest[] }) {
  const { t } = useTranslation();
  const refresh = useRefresh();
  const [asks, setAsks] = useState(false);
  const open = requests.filter((one) => one.state === "open");
  const decided = requests.filter((one) => one.state !== "open").slice(0, DECIDED_SHOWN);
  const mayAsk = ASKERS.has(team.role);
  if (!mayAsk && requests.length === 0) return null;
  return (
    <div className={classes.requests}>
      {requests.length > 0 && (
        <ul aria-label={t("quota.requests", { name: team.name })}>
          {[...open, ...decided].map((one) => (
            <Request key={one.id} request={one} />
          ))}
        </ul>
      )}
      {mayAsk && (
        <Button size="compact-sm" variant="default" onClick={() => setAsks(true)}>
          {t("quota.ask")}
        </Button>
      )}
      {asks && (
        <AskQuota
          team={team}
          close={() => setAsks(false)}
          done={() => {
            setAsks(false);
            notifications.show({ message: t("quota.asked") });
            void refresh();
          }}
        />
      )}
    </div>
  );
}

function Request({ request }: { request: QuotaRequest }) {
  const { t } = useTranslation();
  const refresh = useRefresh();
  const [declines, setDeclines] = useState(false);
  const path = { params: { path: { id: request.id } } };
  async function carryOut(act: () => Promise<unknown>) {
    try {
      await act();
    } catch (error) {
      notifications.show({ color: "red", title: t("job.refused"), message: asProblem(error).message });
    }
    await refresh();
  }
  const withdraw = () => body(api.POST("/api/v1/quota-requests/{id}/withdraw", path));
  const approve = () => body(api.POST("/api/v1/quota-requests/{id}/approve", { ...path, body: {} }));
  async function decline(reason: string) {
    await body(api.POST("/api/v1/quota-requests/{id}/decline", { ...path, body: { reason } }));
    await refresh();
  }
  const may = (action: string) => request.allowed_actions.some((one) => one === action);
  const button = (label: string, act: () => void) => (
    <Button size="compact-sm" variant="default" onClick={act}>
      {label}
    </Button>
  );
  return (
    <li>
      <div>
        <b>{request.chip_type}</b> {words(t, request)}
        <small className="quiet">
          {t(`quota.state.${request.state}`, { by: request.decided_by ?? "" })} · {request.asked_by}:{" "}
          {request.reason}
        </small>
        {[request.answer, request.note].filter(Boolean).map((said) => (
          <small key={said}>{said}</small>
        ))}
      </div>
      <Group gap={8} wrap="nowrap">
        {may("approve") && button(t("quota.approve"), () => void carryOut(approve))}
        {may("decline") && button(t("quota.decline"), () => setDeclines(true))}
        {may("withdraw") && button(t("quota.withdraw"), () => void carryOut(withdraw))}
      </Group>
      {declines && (
        <TypedConfirm
          title={t("quota.declineTitle")}
          reasonLabel={t("quota.reason")}
          confirmLabel={t("quota.decline")}
          confirm={decline}
          close={() => setDeclines(false)}
        >
          {t("quota.declineHelp")}
        </TypedConfirm>
      )}
    </li>
  );
}

/** What is granted, or asked for, in chips. */
function words(t: TFunction, { granted, asked, until }: QuotaRequest): string {
  const figures = granted ?? asked;
  const limit = figures.limit_milli === null ? t("quota.noLimit") : milli(figures.limit_milli);
  const amounts = t("quota.figures", { guaranteed: milli(figures.guaranteed_milli), limit });
  return until ? t("quota.figuresUntil", { amounts, until }) : amounts;
}

function useRefresh() {
  const client = useQueryClient();
  return async () => {
    await client.invalidateQueries({ queryKey: ["get", "/api/v1/quota-requests"] });
    await client.invalidateQueries({ queryKey: ["get", "/api/v1/teams"] });
  };
}
