/** Nodes and chips as the server tells them; the use of each second comes by socket, outside the query cache. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useRef } from "react";
import { api, body, query } from "../../api/client";
import { usePolling, useTopic } from "../../api/live";
import { Batches } from "../../api/throttle";
import type { Node } from "../../api/types";

const PAGE = 200;
/** Memory, temperature and owners are read anew this often. */
const REFRESH_MS = 10_000;
const REFRESH_LARGE_MS = 60_000;
/** More nodes than this count as many: reading them all is not done every few seconds. */
const MANY = 1000;
const NODES = ["get", "/api/v1/nodes", "all"];

async function readNodes(signal: AbortSignal): Promise<Node[]> {
  const nodes: Node[] = [];
  let cursor: string | null = null;
  do {
    const page: { items: Node[]; next_cursor: string | null } = await body(
      api.GET("/api/v1/nodes", { params: { query: { limit: PAGE, cursor: cursor ?? undefined } }, signal }),
    );
    nodes.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return nodes;
}

/** All nodes one may see, with their chips; read again when a hint says that one changed. */
export function useNodes() {
  const client = useQueryClient();
  const changes = useRef<Batches<string> | null>(null);
  changes.current ??= new Batches<string>(() => void client.invalidateQueries({ queryKey: NODES }), 1000);
  useTopic(
    "cluster",
    useCallback((hint) => {
      if (hint.kind === "node") changes.current?.add(hint.id);
    }, []),
  );
  return useQuery({
    queryKey: NODES,
    queryFn: ({ signal }) => readNodes(signal),
    refetchInterval: ({ state }) => ((state.data?.length ?? 0) > MANY ? REFRESH_LARGE_MS : REFRESH_MS),
  });
}

export function useCluster() {
  return query.useQuery("get", "/api/v1/cluster", undefined, {
    refetchInterval: Math.min(usePolling(), REFRESH_MS),
  });
}

export type NodeAction = "drain" | "cordon" | "return";

/** Carry out an operator's `action` on a node; the list is read again afterwards. */
export function useActOnNode() {
  const client = useQueryClient();
  return async (id: string, action: NodeAction, reason: string): Promise<void> => {
    const params = { path: { id } };
    if (action === "drain") await api.POST("/api/v1/nodes/{id}/drain", { params, body: { reason } });
    else if (action === "cordon") await api.POST("/api/v1/nodes/{id}/cordon", { params, body: { reason } });
    else await api.POST("/api/v1/nodes/{id}/return", { params, body: {} });
    await client.invalidateQueries({ queryKey: NODES });
  };
}

/** Carry out an operator's `action` on a chip; the list is read again afterwards. */
export function useActOnChip() {
  const client = useQueryClient();
  return async (id: string, action: "cordon" | "return", reason: string): Promise<void> => {
    const params = { path: { id } };
    if (action === "cordon") await api.POST("/api/v1/chips/{id}/cordon", { params, body: { reason } });
    else await api.POST("/api/v1/chips/{id}/return", { params, body: { reason } });
    await client.invalidateQueries({ queryKey: NODES });
  };
}
