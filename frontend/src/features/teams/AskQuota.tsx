/** A team asks for more of a chip type: whole figures, not how much more. */

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
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body, query } from "../../api/client";
import { asProblem } from "../../api/problem";
import type { Team } from "../../api/types";
import classes from "./TeamsPage.module.css";

const REASON_MOST = 1000;

export function AskQuota({ team, close, done }: { team: Team; close: () => void; done: () => void }) {
  const { t } = useTranslation();
  const cluster = query.useQuery("get", "/api/v1/cluster");
  const held = team.quotas.map((quota) => quota.chip_type);
  const [type, setType] = useState(held[0] ?? "");
  const has = team.quotas.find((quota) => quota.chip_type === type);
  const [guaranteed, setGuaranteed] = useState<number | string>("");
  const [limit, setLimit] = useState<number | string>("");
  const [until, setUntil] = useState("");
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  async function submit(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    const asked = {
      team: team.id,
      chip_type: type,
      reason,
      ...(guaranteed !== "" && { guaranteed_milli: Math.round(Number(guaranteed) * 1000) }),
      ...(limit !== "" && { limit_milli: Math.round(Number(limit) * 1000) }),
      ...(until && { until }),
    };
    try {
      await body(api.POST("/api/v1/quota-requests", { body: asked }));
      done();
    } catch (error) {
      setProblem(asProblem(error).message);
      setBusy(false);
    }
  }
  const now = (milli: number | null | undefined) =>
    milli === null || milli === undefined ? t("quota.noLimit") : String(milli / 1000);
  return (
    <Modal opened onClose={close} title={<Text fw={650}>{t("quota.askTitle", { name: team.name })}</Text>}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack gap={14}>
          <Autocomplete
            label={t("quota.type")}
            data={[...new Set([...held, ...(cluster.data?.types ?? []).map((one) => one.type)])]}
            value={type}
            onChange={setType}
            required
          />
          <div className={classes.figures}>
            <NumberInput
              label={t("quota.guaranteed")}
              description={t("quota.now", { amount: now(has?.guaranteed_milli ?? 0) })}
              min={0}
              decimalScale={3}
              value={guaranteed}
              onChange={setGuaranteed}
            />
            <NumberInput
              label={t("quota.limit")}
              description={t("quota.now", { amount: now(has?.limit_milli) })}
              min={0}
              decimalScale={3}
              value={limit}
              onChange={setLimit}
            />
          </div>
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
