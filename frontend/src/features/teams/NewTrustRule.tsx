/** A trust rule to be made, from a template of GitHub's or GitLab's words. */

import { Autocomplete, Modal, SegmentedControl, Stack, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { api, body, query } from "../../api/client";
import type { Team, TrustRule } from "../../api/types";
import { FormEnd } from "../../ui/FormEnd";
import { useAct } from "../../ui/useAct";
import classes from "./TeamsPage.module.css";
import { claimsOf, ISSUERS, type System } from "./trust";

const ACCOUNTS = "/api/v1/service-accounts";
const MOST_NAME = 63;

type Props = { team: Team; made: (rule: TrustRule) => Promise<void>; close: () => void };

export function NewTrustRule({ team, made, close }: Props) {
  const { t } = useTranslation();
  const { busy, problem, act } = useAct();
  const [system, setSystem] = useState<System>("github");
  const [issuer, setIssuer] = useState(ISSUERS.github);
  const accounts = query.useQuery("get", ACCOUNTS, { params: { query: { limit: 200 } } });
  const names = accounts.data?.items.filter((one) => one.team === team.name).map((one) => one.name) ?? [];
  const [account, setAccount] = useState("ci");
  function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const [project, branch] = ["project", "branch"].map((name) => String(form.get(name)).trim());
    void act(async () => {
      if (!names.includes(account)) {
        await api.POST(ACCOUNTS, { body: { name: account, role: "member", team: team.name } });
        await accounts.refetch();
      }
      const claims = claimsOf(system, project ?? "", branch ?? "");
      const name = (project ?? "").slice(0, MOST_NAME);
      await made(
        await body(
          api.POST("/api/v1/trust-rules", {
            body: { account, name, issuer, claims, scopes: ["read", "write"] },
          }),
        ),
      );
    });
  }
  return (
    <Modal opened onClose={close} title={t("trust.addTo", { team: team.name })}>
      <form onSubmit={submit}>
        <Stack gap={14}>
          <p className={classes.help}>{t("trust.help")}</p>
          <SegmentedControl
            aria-label={t("trust.system")}
            data={[
              { value: "github", label: "GitHub" },
              { value: "gitlab", label: "GitLab" },
            ]}
            value={system}
            onChange={(value) => {
              setSystem(value as System);
              setIssuer(ISSUERS[value as System]);
            }}
          />
          <TextInput
            name="project"
            label={t(system === "github" ? "trust.repository" : "trust.project")}
            placeholder="acme/train"
            required
            withAsterisk={false}
            data-autofocus
          />
          <TextInput
            name="branch"
            label={t("trust.branch")}
            description={t("trust.branchHelp")}
            placeholder="main"
          />
          <Autocomplete
            label={t("trust.account")}
            description={t("trust.accountHelp")}
            data={names}
            value={account}
            onChange={setAccount}
            required
            withAsterisk={false}
          />
          <TextInput
            label={t("trust.issuer")}
            description={t("trust.issuerHelp")}
            value={issuer}
            onChange={(event) => setIssuer(event.currentTarget.value)}
            required
            withAsterisk={false}
          />
          <FormEnd label={t("trust.make")} problem={problem} busy={busy} close={close} />
        </Stack>
      </form>
    </Modal>
  );
}
