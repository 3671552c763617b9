/** What the scheduler saved in the last thirty days, for operators. A simulation, and it says so. */

import { useTranslation } from "react-i18next";
import { query } from "../../api/client";
import { useMe } from "../../api/session";
import { count, figure } from "../../ui/format";
import { Facts, Panel } from "../../ui/Panel";
import { Simulated } from "./columns";

const HOUR_MS = 3_600_000;
const MWH = 1_000_000;
/** A day is played once a night. */
const STALE_MS = 600_000;

export function SavingsPanel() {
  const me = useMe();
  return me.user.is_operator ? <Savings /> : null;
}

function Savings() {
  const { t } = useTranslation();
  const told = query.useQuery("get", "/api/v1/savings", {}, { staleTime: STALE_MS }).data;
  if (!told || told.total.days === 0) return null;
  const { days, jobs, chip_ms_saved, wait_ms_avoided, wait_error_ms, energy_mwh_saved, drawn_mwh } =
    told.total;
  const hours = (ms: number) => t("savings.hours", { hours: inHours(ms) });
  const kwh = (mwh: number) => t("savings.kwh", { kwh: figure(mwh / MWH) });
  return (
    <Panel title={t("savings.title")} aside={<Simulated />}>
      <Facts
        facts={[
          { label: t("savings.chipHours"), value: inHours(chip_ms_saved) },
          { label: t("savings.waiting"), value: hours(wait_ms_avoided) },
          {
            label: t("savings.error"),
            value: wait_error_ms === null ? t("savings.notMeasured") : hours(wait_error_ms),
          },
          { label: t("savings.energy"), value: kwh(energy_mwh_saved) },
          { label: t("savings.drawn"), value: drawn_mwh === null ? t("savings.notTold") : kwh(drawn_mwh) },
          { label: t("savings.of"), value: t("savings.ofDays", { count: days, jobs: count(jobs) }) },
          { label: t("savings.method"), value: told.method, wide: true },
        ]}
      />
    </Panel>
  );
}

/** With a decimal below a hundred. */
function inHours(ms: number): string {
  const hours = ms / HOUR_MS;
  return figure(Math.abs(hours) < 100 ? Math.round(hours * 10) / 10 : Math.round(hours));
}
