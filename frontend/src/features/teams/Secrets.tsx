/** Tokens and passwords that a team's jobs name: who set them and when. Their values nobody is shown. */

import { Button, Group } from "@mantine/core";
import { IconPlus, IconRefresh, IconTrash } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api, query } from "../../api/client";
import { useMe } from "../../api/session";
import type { Team, TeamSecret } from "../../api/types";
import { Failed, Loading } from "../../ui/Faces";
import { ago } from "../../ui/format";
import { TypedConfirm } from "../../ui/TypedConfirm";
import { useNow } from "../../ui/useNow";
import { SetSecret } from "./SetSecret";
import classes from "./TeamsPage.module.css";

const PATH = "/api/v1/teams/{id}/secrets";
const SEES: ReadonlySet<string> = new Set(["member", "maintainer", "owner"]);
const SETS: ReadonlySet<string> = new Set(["maintainer", "owner"]);

export function Secrets({ team }: { team: Team }) {
  const me = useMe();
  const sees = SEES.has(team.role) && team.organization.id === me.organization.id;
  return sees ? <Named team={team} sets={SETS.has(team.role)} /> : null;
}

function Named({ team, sets }: { team: Team; sets: boolean }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const params = { path: { id: team.id }, query: { limit: 200 } };
  const found = query.useQuery("get", PATH, { params });
  const [setting, setSetting] = useState<string | null>(null);
  const reread = () => client.invalidateQueries({ queryKey: ["get", PATH] });
  const secrets = found.data?.items.toSorted((a, b) => a.name.localeCompare(b.name));
  return (
    <section className={classes.trust} aria-label={t("secrets.of", { team: team.name })}>
      <Group justify="space-between" gap={10}>
        <h3>{t("secrets.title")}</h3>
        {sets && (
          <Button
            size="compact-sm"
            variant="default"
            leftSection={<IconPlus size={14} />}
            aria-label={t("secrets.addTo", { team: team.name })}
            onClick={() => setSetting("")}
          >
            {t("secrets.add")}
          </Button>
        )}
      </Group>
      {found.isPending ? (
        <Loading rows={1} />
      ) : !secrets ? (
        <Failed error={found.error} retry={() => void found.refetch()} />
      ) : secrets.length === 0 ? (
        <p className="quiet">{t(sets ? "secrets.none" : "secrets.noneHere")}</p>
      ) : (
        <ul>
          {secrets.map((secret) => (
            <Secret
              key={secret.id}
              secret={secret}
              team={team}
              sets={sets && secret.team === team.name}
              replace={() => setSetting(secret.name)}
              reread={reread}
            />
          ))}
        </ul>
      )}
      {setting !== null && (
        <SetSecret
          team={team}
          name={setting}
          close={() => setSetting(null)}
          done={async () => {
            await reread();
            setSetting(null);
          }}
        />
      )}
    </section>
  );
}

type SecretProps = {
  secret: TeamSecret;
  team: Team;
  sets: boolean;
  replace: () => void;
  reread: () => Promise<void>;
};

function Secret({ secret, team, sets, replace, reread }: SecretProps) {
  const { t } = useTranslation();
  const now = useNow(60_000);
  const [asks, setAsks] = useState(false);
  const { name } = secret;
  return (
    <li>
      <div className={classes.rule}>
        <span className="mono">{name}</span>
        <small className="quiet">
          {secret.team !== team.name && `${t("secrets.above", { team: secret.team })} · `}
          {t("secrets.set", { by: secret.set_by, at: ago(secret.set_at, now) })} ·{" "}
          {secret.used_at ? t("secrets.used", { at: ago(secret.used_at, now) }) : t("secrets.unused")}
        </small>
      </div>
      {sets && (
        <Group gap={6} wrap="nowrap">
          <Button
            size="compact-sm"
            variant="default"
            leftSection={<IconRefresh size={14} />}
            aria-label={t("secrets.replaceOne", { name })}
            onClick={replace}
          >
            {t("secrets.replace")}
          </Button>
          <Button
            size="compact-sm"
            variant="default"
            aria-label={t("secrets.removeOne", { name })}
            onClick={() => setAsks(true)}
          >
            <IconTrash size={14} aria-hidden />
          </Button>
        </Group>
      )}
      {asks && (
        <TypedConfirm
          title={t("secrets.removeOne", { name })}
          confirmLabel={t("secrets.remove")}
          confirm={async () => {
            await api.DELETE("/api/v1/teams/{id}/secrets/{name}", {
              params: { path: { id: team.id, name } },
            });
            await reread();
          }}
          close={() => setAsks(false)}
        >
          {t("secrets.removeHelp")}
        </TypedConfirm>
      )}
    </li>
  );
}
