/** What became of one's own requests for quota or budget, told on every page until it is closed. */

import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import { query } from "../../api/client";
import { useMe } from "../../api/session";
import type { QuotaRequest } from "../../api/types";
import { figure, MICRO, milli } from "../../ui/format";

export const ASKERS: ReadonlySet<string> = new Set(["maintainer", "owner"]);
const REFRESH_MS = 60_000;
/** What was answered longer ago is on the page of teams alone. */
const DAY_MS = 86_400_000;
const TOLD_FOR_MS = 14 * DAY_MS;

export function useAnswers(): { key: string; text: string }[] {
  const { t } = useTranslation();
  const me = useMe();
  const asked = query.useQuery(
    "get",
    "/api/v1/quota-requests",
    { params: { query: { limit: 50 } } },
    {
      refetchInterval: REFRESH_MS,
      retry: false,
      enabled: me.teams.some(({ role }) => ASKERS.has(role)),
    },
  );
  const since = Date.now() - TOLD_FOR_MS;
  return (asked.data?.items ?? [])
    .filter((one) => one.asked_by === me.user.username && toldAt(one, me.user.username) > since)
    .map((one) => ({ key: `${one.id} ${one.state}`, text: told(t, one, me.currency) }));
}

/** When there was something to tell its asker last; 0 where there is nothing, or they decided it themselves. */
function toldAt({ state, until, decided_at, decided_by }: QuotaRequest, asker: string): number {
  if (state === "ended" && until) return Date.parse(until) + DAY_MS;
  const isAnswered = (state === "approved" || state === "declined") && decided_by !== asker;
  return isAnswered && decided_at ? Date.parse(decided_at) : 0;
}

function told(t: TFunction, request: QuotaRequest, currency: string): string {
  const { team, chip_type, state, decided_by, answer, note } = request;
  const facts = {
    team: team.name,
    of: chip_type ?? t("quota.budget"),
    by: decided_by,
    amounts: words(t, request, currency),
  };
  if (state === "ended") return `${t("quota.told.ended", facts)} ${note}`;
  return [t(`quota.told.${state === "approved" ? "approved" : "declined"}`, facts), answer]
    .filter(Boolean)
    .join(" ");
}

/** What is granted, or asked for: in chips, or in chip-hours and money; and what was asked for, where it differs. */
export function words(t: TFunction, { granted, asked, until }: QuotaRequest, currency: string): string {
  const wanted = amountsOf(t, asked, currency);
  const amounts = granted ? amountsOf(t, granted, currency) : wanted;
  const shown = until ? t("quota.figuresUntil", { amounts, until }) : amounts;
  return amounts === wanted ? shown : t("quota.figuresInstead", { shown, wanted });
}

function amountsOf(t: TFunction, figures: QuotaRequest["asked"], currency: string): string {
  if ("guaranteed_milli" in figures) {
    const limit =
      figures.limit_milli === null
        ? t("quota.noLimit")
        : t("quota.atMost", { limit: milli(figures.limit_milli) });
    return t("quota.figures", { guaranteed: milli(figures.guaranteed_milli), limit });
  }
  const { chip_hours, money_micro } = figures;
  return [
    chip_hours !== null && t("quota.hoursAmount", { amount: figure(chip_hours) }),
    money_micro !== null && t("quota.moneyAmount", { amount: figure(money_micro / MICRO), currency }),
  ]
    .filter(Boolean)
    .join(", ");
}
