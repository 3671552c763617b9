/** A webhook to be; afterwards its secret, this once. */

import { Modal, MultiSelect, Select, Stack, TextInput } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body } from "../../api/client";
import { useMe } from "../../api/session";
import type { WebhookEvent } from "../../api/types";
import { FormEnd } from "../../ui/FormEnd";
import { ShownOnce } from "../../ui/ShownOnce";
import { useAct } from "../../ui/useAct";

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
  "job.straggler",
  "budget.warned",
  "budget.reached",
  "quota_request.approved",
  "quota_request.declined",
  "quota_request.ended",
];
const ENDS: WebhookEvent[] = ["job.succeeded", "job.failed", "job.cancelled", "job.timed_out"];

export function NewWebhook({ close }: { close: () => void }) {
  const { t } = useTranslation();
  const [secret, setSecret] = useState<string | null>(null);
  return (
    <Modal opened onClose={close} title={t("webhooks.new")}>
      {secret === null ? (
        <Form made={setSecret} close={close} />
      ) : (
        <ShownOnce
          help={t("webhooks.secretHelp")}
          text={secret}
          label={t("webhooks.secret")}
          kept={t("webhooks.done")}
          close={close}
        />
      )}
    </Modal>
  );
}

function Form({ made, close }: { made: (secret: string) => void; close: () => void }) {
  const { t } = useTranslation();
  const me = useMe();
  const client = useQueryClient();
  const { busy, problem, act } = useAct();
  const [events, setEvents] = useState<string[]>(ENDS);
  const [team, setTeam] = useState<string | null>(me.teams.length === 1 ? (me.teams[0]?.id ?? null) : null);
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const wanted = {
      name: String(given.get("name")),
      url: String(given.get("url")),
      events: events as WebhookEvent[],
      ...(team ? { team } : {}),
    };
    void act(async () => {
      const { secret } = await body(api.POST("/api/v1/webhooks", { body: wanted }));
      made(secret);
      await client.invalidateQueries({ queryKey: ["get", "/api/v1/webhooks"] });
    });
  }
  return (
    <form onSubmit={submit}>
      <Stack gap={14}>
        <TextInput
          name="name"
          label={t("webhooks.name")}
          maxLength={63}
          required
          withAsterisk={false}
          data-autofocus
          placeholder="ci"
        />
        <TextInput
          name="url"
          label={t("webhooks.url")}
          maxLength={500}
          required
          withAsterisk={false}
          placeholder="https://ci.example/flexai"
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
        <FormEnd label={t("webhooks.make")} problem={problem} busy={busy} close={close} />
      </Stack>
    </form>
  );
}
