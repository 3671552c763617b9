/** A team asks for more of a chip type, or for more budget: whole figures, not how much more. */

import {
  Autocomplete,
  Button,
  Group,
  Modal,
  NumberInput,
  Stack,
  Text,
  Textarea,
  TextInput,
} from "@mantine/core";
import { type FormEvent, type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body, query } from "../../api/client";
import { asProblem } from "../../api/problem";
import { useMe } from "../../api/session";
import type { NewQuotaRequest, Team } from "../../api/types";
import { figure, MICRO } from "../../ui/format";
import classes from "./TeamsPage.module.css";

const REASON_MOST = 1000;

interface Asking {
  team: Team;
  close: () => void;
  done: () => void;
}

export function AskQuota({ team, ...rest }: Asking) {
  const { t } = useTranslation();
  const cluster = query.useQuery("get", "/api/v1/cluster");
  const held = team.quotas.map((quota) => quota.chip_type);
  const [type, setType] = useState(held[0] ?? "");
  const has = team.quotas.find((quota) => quota.chip_type === type);
  const [guaranteed, setGuaranteed] = useState<number | string>("");
  const [limit, setLimit] = useState<number | string>("");
  const now = (milli: number | null | undefined) =>
    milli === null || milli === undefined ? t("quota.noLimit") : String(milli / 1000);
  const wanted = {
    chip_type: type,
    ...(guaranteed !== "" && { guaranteed_milli: Math.round(Number(guaranteed) * 1000) }),
    ...(limit !== "" && { limit_milli: Math.round(Number(limit) * 1000) }),
  };
  return (
    <Ask team={team} title={t("quota.askTitle", { name: team.name })} wanted={wanted} {...rest}>
      <Autocomplete
        label={t("quota.type")}
        data={[...new Set([...held, ...(cluster.data?.types ?? []).map((one) => one.type)])]}
        value={type}
        onChange={setType}
        required
      />
      <div className={classes.figures}>
        <Figure
          label={t("quota.guaranteed")}
          now={now(has?.guaranteed_milli ?? 0)}
          scale={3}
          value={guaranteed}
          set={setGuaranteed}
        />
        <Figure label={t("quota.limit")} now={now(has?.limit_milli)} scale={3} value={limit} set={setLimit} />
      </div>
    </Ask>
  );
}

export function AskBudget({ team, budget, ...rest }: Asking & { budget: NonNullable<Team["budget"]> }) {
  const { t } = useTranslation();
  const { currency } = useMe();
  const [hours, setHours] = useState<number | string>("");
  const [money, setMoney] = useState<number | string>("");
  const now = (amount: number | null) => (amount === null ? t("quota.noLimit") : figure(amount));
  const wanted = {
    kind: "budget" as const,
    ...(hours !== "" && { chip_hours: Number(hours) }),
    ...(money !== "" && { money_micro: Math.round(Number(money) * MICRO) }),
  };
  return (
    <Ask team={team} title={t("quota.askBudgetTitle", { name: team.name })} wanted={wanted} {...rest}>
      <div className={classes.figures}>
        <Figure
          label={t("quota.hours")}
          now={now(budget.chip_hours)}
          scale={0}
          value={hours}
          set={setHours}
        />
        <Figure
          label={t("quota.money", { currency })}
          now={now(budget.money_micro === null ? null : budget.money_micro / MICRO)}
          scale={2}
          value={money}
          set={setMoney}
        />
      </div>
    </Ask>
  );
}

/** The dialog about the figures: until when, and why. */
function Ask({
  team,
  title,
  wanted,
  close,
  done,
  children,
}: Asking & { title: string; wanted: Partial<NewQuotaRequest>; children: ReactNode }) {
  const { t } = useTranslation();
  const [until, setUntil] = useState("");
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  async function submit(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    const asked = { team: team.id, ...wanted, reason, ...(until && { until }) };
    try {
      await body(api.POST("/api/v1/quota-requests", { body: asked }));
      done();
    } catch (error) {
      setProblem(asProblem(error).message);
      setBusy(false);
    }
  }
  return (
    <Modal opened onClose={close} title={<Text fw={650}>{title}</Text>}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack gap={14}>
          {children}
          <TextInput
            type="date"
            label={t("quota.until")}
            description={t("quota.untilHelp")}
            value={until}
            onChange={(event) => setUntil(event.currentTarget.value)}
          />
          <Textarea
            label={t("quota.reason")}
            autosize
            minRows={2}
            maxLength={REASON_MOST}
            required
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
          />
          {problem && (
            <Text size="sm" c="var(--status-failed)" role="alert">
              {problem}
            </Text>
          )}
          <Group justify="flex-end" gap={10}>
            <Button variant="default" onClick={close}>
              {t("confirm.back")}
            </Button>
            <Button type="submit" loading={busy}>
              {t("quota.send")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

function Figure({
  label,
  now,
  scale,
  value,
  set,
}: {
  label: string;
  now: string;
  scale: number;
  value: number | string;
  set: (value: number | string) => void;
}) {
  const { t } = useTranslation();
  return (
    <NumberInput
      label={label}
      description={t("quota.now", { amount: now })}
      min={0}
      decimalScale={scale}
      thousandSeparator=","
      value={value}
      onChange={set}
    />
  );
}
