import { useEffect, useMemo, useSyncExternalStore } from "react";
import { api, body } from "../../api/client";
import { useTopic } from "../../api/live";
import { LogTail } from "../../api/logs";
import { live } from "../../api/socket";
import { byId } from "./queries";

/** A log that hints do not reach is read this often; with hints, a slower look catches what was missed. */
const POLL_MS = 3000;

/** The log of one replica, read from its end and kept growing. */
export function useLogTail(job: string, attempt: number, replica: number): LogTail {
  const tail = useMemo(
    () =>
      new LogTail((range) =>
        body(
          api.GET("/api/v1/jobs/{id}/logs", {
            params: { ...byId(job).params, query: { attempt, replica, ...range } },
          }),
        ),
      ),
    [job, attempt, replica],
  );
  useEffect(() => {
    void tail.pump();
    const timer = setInterval(() => !tail.ended && void tail.pump(), POLL_MS);
    const stop = live.onGap(() => void tail.pump());
    return () => {
      clearInterval(timer);
      stop();
    };
  }, [tail]);
  useTopic(`job:${job}`, (hint) => {
    if (hint.kind === "job") void tail.pump();
    if (hint.kind !== "logs") return;
    const data = hint.data as { attempt?: number; replica?: number } | undefined;
    if (data?.attempt === attempt && data.replica === replica) void tail.pump();
  });
  useSyncExternalStore(tail.watch, tail.getVersion);
  return tail;
}
