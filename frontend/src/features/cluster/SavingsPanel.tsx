/** What the scheduler saved in the last thirty days, for operators. A simulation, and it says so. */

import { Badge } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { query } from "../../api/client";
import { useMe } from "../../api/session";
import { count, figure } from "../../ui/format";
import { Facts, Panel } from "../../ui/Panel";

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
  const hours = (ms: number) => t("savings.hours", { hours: figure(ms / HOUR_MS) });
  const kwh = (mwh: number) => t("savings.kwh", { kwh: figure(mwh / MWH) });
  return (
    <Panel
      title={t("savings.title")}
      aside={
        <Badge variant="outline" color="gray" tt="none">
          {t("savings.simulated")}
        </Badge>
      }
    >
      <Facts
        facts={[
          { label: t("savings.chipHours"), value: figure(chip_ms_saved / HOUR_MS) },
          { label: t("savings.waiting"), value: hours(wait_ms_avoided) },
          {
            label: t("savings.error"),
            value: wait_error_ms === null ? t("savings.notMeasured") : hours(wait_error_ms),
          },
          { label: t("savings.energy"), value: kwh(energy_mwh_saved) },
          { label: t("savings.drawn"), value: drawn_mwh === null ? t("savings.notTold") : kwh(drawn_mwh) },
          { label: t("savings.of"), value: t("savings.ofDays", { days: count(days), jobs: count(jobs) }) },
          { label: t("savings.method"), value: told.method, wide: true },
        ]}
      />
    </Panel>
  );
}
