/** Which pipelines act in a team without a secret, by the identity that their CI system gives them. */

import { Button, Group, Modal } from "@mantine/core";
import { IconCode, IconPlus, IconTrash } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api, query } from "../../api/client";
import { useMe } from "../../api/session";
import type { Team, TrustRule } from "../../api/types";
import { CopyText } from "../../ui/CopyText";
import { Failed, Loading } from "../../ui/Faces";
import { ago } from "../../ui/format";
import { TypedConfirm } from "../../ui/TypedConfirm";
import { useNow } from "../../ui/useNow";
import { NewTrustRule } from "./NewTrustRule";
import classes from "./TeamsPage.module.css";
import { exampleOf, systemOf } from "./trust";

const PATH = "/api/v1/trust-rules";
const MANAGES: ReadonlySet<string> = new Set(["maintainer", "owner"]);

export function TrustRules({ team }: { team: Team }) {
  const me = useMe();
  const manages = MANAGES.has(team.role) && team.organization.id === me.organization.id;
  return manages ? <Managed team={team} /> : null;
}

function Managed({ team }: { team: Team }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const found = query.useQuery("get", PATH, { params: { query: { limit: 200 } } });
  const [making, setMaking] = useState(false);
  const [shown, setShown] = useState<TrustRule | null>(null);
  const reread = () => client.invalidateQueries({ queryKey: ["get", PATH] });
  // Those of the whole organization act in this team too.
  const rules = found.data?.items.filter((rule) => rule.team === null || rule.team === team.name);
  return (
    <section className={classes.trust} aria-label={t("trust.of", { team: team.name })}>
      <Group justify="space-between" gap={10}>
        <h3>{t("trust.title")}</h3>
        <Button
          size="compact-sm"
          variant="default"
          leftSection={<IconPlus size={14} />}
          aria-label={t("trust.addTo", { team: team.name })}
          onClick={() => setMaking(true)}
        >
          {t("trust.add")}
        </Button>
      </Group>
      {found.isPending ? (
        <Loading rows={1} />
      ) : !rules ? (
        <Failed error={found.error} retry={() => void found.refetch()} />
      ) : rules.length === 0 ? (
        <p className="quiet">{t("trust.none")}</p>
      ) : (
        <ul>
          {rules.map((rule) => (
            <Rule key={rule.id} rule={rule} show={() => setShown(rule)} reread={reread} />
          ))}
        </ul>
      )}
      {making && (
        <NewTrustRule
          team={team}
          close={() => setMaking(false)}
          made={async (rule) => {
            await reread();
            setMaking(false);
            setShown(rule);
          }}
        />
      )}
      {shown && <Example rule={shown} close={() => setShown(null)} />}
    </section>
  );
}

type RuleProps = { rule: TrustRule; show: () => void; reread: () => Promise<void> };

function Rule({ rule, show, reread }: RuleProps) {
  const { t } = useTranslation();
  const now = useNow(60_000);
  const [asks, setAsks] = useState(false);
  return (
    <li>
      <div className={classes.rule}>
        <span>
          <b>{rule.name}</b> <small className="quiet">{t("trust.as", { account: rule.account })}</small>
        </span>
        <small className="mono">{claimsText(rule.claims)}</small>
        <small className="quiet">
          {rule.team === null && `${t("trust.everywhere")} · `}
          {hostOf(rule.issuer)} ·{" "}
          {rule.last_used_at ? t("trust.used", { at: ago(rule.last_used_at, now) }) : t("trust.unused")}
        </small>
      </div>
      <Group gap={6} wrap="nowrap">
        <Button
          size="compact-sm"
          variant="default"
          leftSection={<IconCode size={14} />}
          aria-label={t("trust.exampleOf", { name: rule.name })}
          onClick={show}
        >
          {t("trust.example")}
        </Button>
        <Button
          size="compact-sm"
          variant="default"
          aria-label={t("trust.removeOne", { name: rule.name })}
          onClick={() => setAsks(true)}
        >
          <IconTrash size={14} aria-hidden />
        </Button>
      </Group>
      {asks && (
        <TypedConfirm
          title={t("trust.removeOne", { name: rule.name })}
          confirmLabel={t("trust.remove")}
          confirm={async () => {
            await api.DELETE("/api/v1/trust-rules/{id}", { params: { path: { id: rule.id } } });
            await reread();
          }}
          close={() => setAsks(false)}
        >
          {t("trust.removeHelp")}
        </TypedConfirm>
      )}
    </li>
  );
}

function Example({ rule, close }: { rule: TrustRule; close: () => void }) {
  const { t } = useTranslation();
  const system = systemOf(rule.claims);
  return (
    <Modal opened onClose={close} size="lg" title={t("trust.exampleOf", { name: rule.name })}>
      <p className={classes.help}>{t(`trust.exampleHelp.${system}`)}</p>
      <CopyText text={exampleOf(system, rule.id, location.origin)} label={t("trust.example")} />
    </Modal>
  );
}

function claimsText(claims: { [claim: string]: unknown }): string {
  return Object.entries(claims)
    .map(([claim, patterns]) => `${claim}=${Array.isArray(patterns) ? patterns.join(" or ") : patterns}`)
    .join(", ");
}

function hostOf(issuer: string): string {
  return issuer.replace(/^https?:\/\//, "");
}
