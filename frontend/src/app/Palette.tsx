/** Ctrl-K: go anywhere, find a job by name or id. */

import "@mantine/spotlight/styles.css";
import { Spotlight, spotlight } from "@mantine/spotlight";
import {
  IconAffiliate,
  IconCalendarTime,
  IconCpu,
  IconHome,
  IconListDetails,
  IconPlus,
  IconSearch,
  IconShieldLock,
  IconTerminal2,
} from "@tabler/icons-react";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { query } from "../api/client";
import { jobName } from "../ui/jobName";
import { StatusBadge } from "../ui/StatusBadge";

const PAGES = [
  { to: "/", key: "overview", icon: IconHome },
  { to: "/jobs", key: "jobs", icon: IconListDetails },
  { to: "/submit", key: "submit", icon: IconPlus },
  { to: "/schedules", key: "schedules", icon: IconCalendarTime },
  { to: "/cluster", key: "cluster", icon: IconCpu },
  { to: "/teams", key: "teams", icon: IconAffiliate },
  { to: "/account", key: "account", icon: IconShieldLock },
  { to: "/connect", key: "connect", icon: IconTerminal2 },
] as const;

export default function Palette() {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [text, setText] = useState("");
  const found = query.useQuery(
    "get",
    "/api/v1/jobs",
    { params: { query: { q: text, limit: 8 } } },
    { enabled: text.length > 1, placeholderData: (old) => old },
  );
  useEffect(() => spotlight.open(), []);
  const pages = PAGES.filter(({ key }) => t(`nav.${key}`).toLowerCase().includes(text.toLowerCase()));
  return (
    <Spotlight.Root query={text} onQueryChange={setText} shortcut="mod + K" radius={12}>
      <Spotlight.Search
        placeholder={t("palette.placeholder")}
        leftSection={<IconSearch size={18} />}
        aria-label={t("palette.placeholder")}
      />
      <Spotlight.ActionsList>
        {pages.map(({ to, key, icon: Icon }) => (
          <Spotlight.Action
            key={to}
            label={t(`nav.${key}`)}
            leftSection={<Icon size={18} stroke={1.7} />}
            onClick={() => void navigate({ to })}
          />
        ))}
        {(text.length > 1 ? (found.data?.items ?? []) : []).map((job) => (
          <Spotlight.Action
            key={job.id}
            label={jobName(job)}
            description={`${job.id} · ${job.team.name} / ${job.user}`}
            rightSection={<StatusBadge status={job.status} plain />}
            onClick={() => void navigate({ to: "/jobs/$id", params: { id: job.id } })}
          />
        ))}
        {pages.length === 0 && !found.data?.items.length && (
          <Spotlight.Empty>{t("palette.nothing")}</Spotlight.Empty>
        )}
      </Spotlight.ActionsList>
    </Spotlight.Root>
  );
}
