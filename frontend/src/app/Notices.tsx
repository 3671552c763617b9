import { CloseButton } from "@mantine/core";
import { IconInfoCircle } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { useMe } from "../api/session";
import classes from "./Notices.module.css";

const KEY = "flexai-notices-read";

/** What the platform wants everybody to know, once: a notice that was closed stays closed in this browser. */
export function Notices() {
  const { t } = useTranslation();
  const { notices } = useMe();
  const [read, setRead] = useState(readNotices);
  const open = notices.filter((notice) => !read.includes(notice));
  function close(notice: string) {
    const next = [...read.filter((old) => notices.includes(old)), notice];
    setRead(next);
    keep(next);
  }
  return open.map((notice) => (
    <div key={notice} className={classes.notice} role="note">
      <IconInfoCircle size={17} stroke={1.8} aria-hidden />
      <span>{notice}</span>
      <CloseButton size="sm" aria-label={t("shell.closeNotice")} onClick={() => close(notice)} />
    </div>
  ));
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
