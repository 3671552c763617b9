/** A webhook to be; afterwards its secret, this once. */

import {
  Button,
  Code,
  CopyButton,
  Group,
  Modal,
  MultiSelect,
  Select,
  Stack,
  Text,
  TextInput,
} from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import { asProblem } from "../../api/problem";
import { useMe } from "../../api/session";
import type { WebhookEvent } from "../../api/types";

/** What a webhook may hear of, in the server's order. */
const EVENTS: WebhookEvent[] = [
  "job.submitted",
  "job.started",
  "job.succeeded",
  "job.failed",
  "job.cancelled",
  "job.timed_out",
  "job.preempted",
  "job.suspended",
  "job.requeued",
  "job.held",
  "job.idle",
  "budget.warned",
  "budget.reached",
];
const ENDS: WebhookEvent[] = ["job.succeeded", "job.failed", "job.cancelled", "job.timed_out"];

export function NewWebhook({ close }: { close: () => void }) {
  const { t } = useTranslation();
  const [secret, setSecret] = useState<string | null>(null);
  return (
    <Modal opened onClose={close} title={<Text fw={650}>{t("webhooks.new")}</Text>}>
      {secret === null ? <Form made={setSecret} close={close} /> : <Secret secret={secret} close={close} />}
    </Modal>
  );
}

function Form({ made, close }: { made: (secret: string) => void; close: () => void }) {
  const { t } = useTranslation();
  const me = useMe();
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [url, setUrl] = useState("");
  const [events, setEvents] = useState<string[]>(ENDS);
  const [team, setTeam] = useState<string | null>(me.teams.length === 1 ? (me.teams[0]?.id ?? null) : null);
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  async function submit(event: FormEvent) {
    event.preventDefault();
    setBusy(true);
    const wanted = { name, url, events: events as WebhookEvent[], ...(team ? { team } : {}) };
    try {
      const answer = await body(api.POST("/api/v1/webhooks", { body: wanted }));
      await client.invalidateQueries({ queryKey: ["get", "/api/v1/webhooks"] });
      made(answer.secret);
    } catch (error) {
      setProblem(asProblem(error).message);
      setBusy(false);
    }
  }
  return (
    <form onSubmit={(event) => void submit(event)}>
      <Stack gap={14}>
        <TextInput
          label={t("webhooks.name")}
          value={name}
          required
          maxLength={63}
          data-autofocus
          placeholder="ci"
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <TextInput
          label={t("webhooks.url")}
          value={url}
          required
          maxLength={500}
          placeholder="https://ci.example/flexai"
          onChange={(event) => setUrl(event.currentTarget.value)}
        />
        <Select
          label={t("webhooks.of")}
          data={me.teams.map(({ id, name: label }) => ({ value: id, label }))}
          value={team}
          clearable
          placeholder={t("webhooks.organization")}
          onChange={setTeam}
        />
        <MultiSelect
          label={t("webhooks.events")}
          description={t("webhooks.eventsHelp")}
          data={EVENTS}
          value={events}
          onChange={setEvents}
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
            {t("webhooks.make")}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Secret({ secret, close }: { secret: string; close: () => void }) {
  const { t } = useTranslation();
  return (
    <Stack gap={14}>
      <Text size="sm">{t("webhooks.secretHelp")}</Text>
      <Code block aria-label={t("webhooks.secret")}>
        {secret}
      </Code>
      <Group justify="flex-end" gap={10}>
        <CopyButton value={secret}>
          {({ copied, copy }) => (
            <Button variant="default" onClick={copy}>
              {t(copied ? "webhooks.copied" : "webhooks.copy")}
            </Button>
          )}
        </CopyButton>
        <Button onClick={close}>{t("webhooks.done")}</Button>
      </Group>
    </Stack>
  );
}
