/** What a team asked for and what became of it; what may be done with it, the server says. */

import { Button, Group } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import { asProblem } from "../../api/problem";
import { useMe } from "../../api/session";
import type { QuotaRequest, Team } from "../../api/types";
import { TypedConfirm } from "../../ui/TypedConfirm";
import { AskBudget, AskQuota } from "./AskQuota";
import { ASKERS, words } from "./answers";
import classes from "./TeamsPage.module.css";

/** Beside those that wait for an answer, so many of the latest. */
const DECIDED_SHOWN = 3;

export function QuotaRequests({ team, requests }: { team: Team; requests: QuotaRequest[] }) {
  const { t } = useTranslation();
  const refresh = useRefresh();
  const [asks, setAsks] = useState<"quota" | "budget" | null>(null);
  const open = requests.filter((one) => one.state === "open");
  const decided = requests.filter((one) => one.state !== "open").slice(0, DECIDED_SHOWN);
  const mayAsk = ASKERS.has(team.role);
  if (!mayAsk && requests.length === 0) return null;
  const asking = {
    team,
    close: () => setAsks(null),
    done: () => {
      setAsks(null);
      notifications.show({ message: t("quota.asked") });
      void refresh();
    },
  };
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
        <Group gap={8}>
          <Button size="compact-sm" variant="default" onClick={() => setAsks("quota")}>
            {t("quota.ask")}
          </Button>
          {team.budget && (
            <Button size="compact-sm" variant="default" onClick={() => setAsks("budget")}>
              {t("quota.askBudget")}
            </Button>
          )}
        </Group>
      )}
      {asks === "quota" && <AskQuota {...asking} />}
      {asks === "budget" && team.budget && <AskBudget {...asking} budget={team.budget} />}
    </div>
  );
}

function Request({ request }: { request: QuotaRequest }) {
  const { t } = useTranslation();
  const { currency } = useMe();
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
        <b>{request.chip_type ?? t("quota.budget")}</b> {words(t, request, currency)}
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

function useRefresh() {
  const client = useQueryClient();
  return async () => {
    await client.invalidateQueries({ queryKey: ["get", "/api/v1/quota-requests"] });
    await client.invalidateQueries({ queryKey: ["get", "/api/v1/teams"] });
  };
}
