/** Who may use how much, and who does. */

import { IconAffiliate } from "@tabler/icons-react";
import { useSearch } from "@tanstack/react-router";
import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import { query } from "../../api/client";
import { usePolling } from "../../api/live";
import { useMe } from "../../api/session";
import type { QuotaRequest, Team } from "../../api/types";
import { Empty, Failed, Loading } from "../../ui/Faces";
import { figure, MICRO } from "../../ui/format";
import { TextLink } from "../../ui/links";
import { PageHead, Panel } from "../../ui/Panel";
import { QuotaBar, QuotaLegend } from "../../ui/QuotaBar";
import { QuotaRequests } from "./QuotaRequests";
import { Secrets } from "./Secrets";
import classes from "./TeamsPage.module.css";
import { TrustRules } from "./TrustRules";
import { Webhooks } from "./Webhooks";

const REFRESH_MS = 5000;

export function TeamsPage() {
  const { t } = useTranslation();
  const { team } = useSearch({ strict: false });
  const options = { refetchInterval: Math.min(usePolling(), REFRESH_MS) };
  const teams = query.useQuery("get", "/api/v1/teams", { params: { query: { limit: 200 } } }, options);
  const asked = query.useQuery(
    "get",
    "/api/v1/quota-requests",
    { params: { query: { limit: 200 } } },
    options,
  );
  const shown = teams.data?.items.filter((one) => !team || one.id === team) ?? [];
  return (
    <>
      <PageHead title={t("teams.title")} sub={t("teams.sub")}>
        <QuotaLegend />
      </PageHead>
      {teams.isPending ? (
        <Panel flush>
          <Loading />
        </Panel>
      ) : !teams.data ? (
        <Failed error={teams.error} retry={() => void teams.refetch()} />
      ) : shown.length === 0 ? (
        <Panel flush>
          <Empty icon={<IconAffiliate size={26} stroke={1.6} />} title={t("teams.empty")}>
            {t("teams.emptyHelp")}
          </Empty>
        </Panel>
      ) : (
        <div className={classes.teams}>
          {shown.map((one) => (
            <TeamPanel
              key={one.id}
              team={one}
              requests={asked.data?.items.filter((request) => request.team.id === one.id) ?? []}
            />
          ))}
        </div>
      )}
      <Webhooks />
    </>
  );
}

function TeamPanel({ team, requests }: { team: Team; requests: QuotaRequest[] }) {
  const { t } = useTranslation();
  const me = useMe();
  return (
    <Panel
      title={
        <>
          {team.name}{" "}
          {team.organization.id !== me.organization.id && (
            <small className="quiet">{team.organization.name}</small>
          )}
        </>
      }
      aside={
        <TextLink to="/jobs" search={{ team: team.id }} fz={13}>
          {t("teams.jobs")}
        </TextLink>
      }
    >
      <div className={classes.quotas}>
        {team.quotas.length === 0 && <p className="quiet">{t("teams.noQuota")}</p>}
        {team.quotas.map((quota) => (
          <QuotaBar key={quota.chip_type} label={quota.chip_type} share={quota} />
        ))}
      </div>
      {team.budget && <p className={`${classes.budget} quiet`}>{budgetLine(t, team.budget, me.currency)}</p>}
      <QuotaRequests team={team} requests={requests} />
      {team.members.length > 0 && (
        <ul className={classes.members} aria-label={t("teams.members")}>
          {team.members.map((member) => (
            <li key={member.username}>
              <span className={classes.face} aria-hidden>
                {member.username.slice(0, 1).toUpperCase()}
              </span>
              {member.username} <small className="quiet">{member.role}</small>
            </li>
          ))}
        </ul>
      )}
      <Secrets team={team} />
      <TrustRules team={team} />
    </Panel>
  );
}

const HOUR_MS = 3_600_000;

/** How much of its budget the team and those below it have spent, in whichever of hours and money it is. */
function budgetLine(t: TFunction, budget: NonNullable<Team["budget"]>, currency: string) {
  const parts = [];
  if (budget.chip_hours !== null) {
    const used = figure(Math.round(budget.spent_chip_ms / HOUR_MS));
    parts.push(t("teams.budgetHours", { used, all: figure(budget.chip_hours) }));
  }
  if (budget.money_micro !== null) {
    const used = figure(Math.round(budget.spent_micro / MICRO));
    parts.push(
      t("teams.budgetMoney", { used, all: figure(Math.round(budget.money_micro / MICRO)), currency }),
    );
  }
  return t(`teams.budget.${budget.state}`, { spent: parts.join(", ") });
}
