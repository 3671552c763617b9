/** The files that a job left: what there is, what is not and why, and each or all of them as a download. */

import { Anchor, Button } from "@mantine/core";
import { IconDownload, IconFiles } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { query } from "../../api/client";
import type { JobDetail, OutputFile } from "../../api/types";
import { type Column, DataTable } from "../../ui/DataTable";
import { Empty, Failed, Loading } from "../../ui/Faces";
import { bytes, dateTime } from "../../ui/format";
import { Panel } from "../../ui/Panel";
import classes from "./JobPage.module.css";

/** While files are awaited they are asked for this often. */
const AWAITED_MS = 3_000;

export function OutputsTab({ job }: { job: JobDetail }) {
  const { t } = useTranslation();
  const params = { params: { path: { id: job.id } } };
  const outputs = query.useQuery("get", "/api/v1/jobs/{id}/outputs", params, {
    refetchInterval: ({ state }) => (state.data?.state === "awaited" ? AWAITED_MS : false),
    refetchOnMount: "always",
  });
  if (outputs.isPending) return <Loading />;
  if (!outputs.data) return <Failed error={outputs.error} retry={() => void outputs.refetch()} />;
  const found = outputs.data;
  const attempt = found.attempt ?? 1;
  const columns: Column<OutputFile>[] = [
    {
      key: "path",
      title: t("outputs.path"),
      render: (file) => (
        <Anchor
          href={fileAddress(job.id, attempt, file.path)}
          download
          fz={14}
          className={`mono ${classes.path}`}
        >
          {file.path}
        </Anchor>
      ),
    },
    { key: "size", title: t("outputs.size"), align: "right", width: 120, render: (file) => bytes(file.size) },
  ];
  return (
    <Panel flush>
      {(found.sentence || found.said.length > 0) && (
        <div className={classes.said} role="status">
          {[found.sentence, ...found.said].filter(Boolean).map((sentence) => (
            <p key={sentence}>{sentence}</p>
          ))}
        </div>
      )}
      {found.files.length === 0 ? (
        <Empty icon={<IconFiles size={26} stroke={1.6} />} title={t("outputs.none")}>
          {t("outputs.how")}
        </Empty>
      ) : (
        <>
          <div className={classes.outputs}>
            <span className="quiet">
              {t("outputs.sum", { count: found.files.length, size: bytes(found.bytes) })}{" "}
              {found.kept_until && t("outputs.until", { at: dateTime(found.kept_until) })}
            </span>
            <Button
              component="a"
              href={`/api/v1/jobs/${encodeURIComponent(job.id)}/outputs.tar?attempt=${attempt}`}
              download
              variant="default"
              size="xs"
              leftSection={<IconDownload size={15} aria-hidden />}
            >
              {t("outputs.all")}
            </Button>
          </div>
          <DataTable
            label={t("job.tabs.outputs")}
            columns={columns}
            rows={found.files}
            rowKey={(file) => file.path}
          />
        </>
      )}
    </Panel>
  );
}

function fileAddress(id: string, attempt: number, path: string): string {
  const asked = new URLSearchParams({ attempt: String(attempt), path });
  return `/api/v1/jobs/${encodeURIComponent(id)}/outputs/file?${asked}`;
}
