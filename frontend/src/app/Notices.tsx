import { CloseButton } from "@mantine/core";
import { IconAlertTriangle, IconInfoCircle, IconSpeakerphone } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { query } from "../api/client";
import { useMe } from "../api/session";
import type { Announcement } from "../api/types";
import { useAnswers } from "../features/teams/answers";
import classes from "./Notices.module.css";

const KEY = "flexai-notices-read";
const REFRESH_MS = 60_000;
const MOST_KEPT = 100;

type Notice = { key: string; text: string; level: Announcement["level"] | "platform" | "answer" };
const ICONS = {
  platform: IconInfoCircle,
  answer: IconInfoCircle,
  info: IconSpeakerphone,
  warning: IconAlertTriangle,
  urgent: IconAlertTriangle,
};

/** What operators announce, what became of one's requests, and what the platform says of itself: what was closed stays closed in this browser. */
export function Notices() {
  const { t } = useTranslation();
  const { notices } = useMe();
  const announced = query.useQuery("get", "/api/v1/announcements", undefined, {
    refetchInterval: REFRESH_MS,
    retry: false,
  });
  const [read, setRead] = useState(readNotices);
  const answers = useAnswers();
  const all: Notice[] = [
    ...answers.map((answer) => ({ ...answer, level: "answer" as const })),
    ...(announced.data?.items ?? []).map(({ id, text, level }) => ({ key: id, text, level })),
    ...notices.map((text) => ({ key: text, text, level: "platform" as const })),
  ];
  function close(key: string) {
    const next = [...read, key].slice(-MOST_KEPT);
    setRead(next);
    keep(next);
  }
  return all
    .filter(({ key }) => !read.includes(key))
    .map(({ key, text, level }) => {
      const Icon = ICONS[level];
      return (
        <div
          key={key}
          className={classes.notice}
          data-level={level}
          role={level === "urgent" ? "alert" : "note"}
        >
          <Icon size={17} stroke={1.8} aria-hidden />
          <span>
            {level !== "platform" && level !== "answer" && <b>{t(`announcement.${level}`)} </b>}
            {text}
          </span>
          <CloseButton size="sm" aria-label={t("shell.closeNotice")} onClick={() => close(key)} />
        </div>
      );
    });
}

function readNotices(): string[] {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(value) ? value.map(String) : [];
  } catch {
    return []; // Storage can be forbidden or hold something else: the notices are then shown.
  }
}

function keep(notices: string[]): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(notices));
  } catch {
    // Without storage the notice comes back with the next load.
  }
}
