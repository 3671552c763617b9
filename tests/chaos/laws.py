"""What PostgreSQL's rows must say, at any moment and at the end. Each law is a query for what breaks it."""

from __future__ import annotations

from pathlib import Path

import psycopg

ALWAYS = {
    "the counter of a chip is the sum of its live allocations, and within its capacity": """
        SELECT c.id, c.used_milli, c.guest_milli, sum(l.milli) FILTER (WHERE l.kind = 'owned') AS owned,
               sum(l.milli) FILTER (WHERE l.kind = 'guest') AS guests
          FROM cluster_chip c LEFT JOIN jobs_allocation l ON l.chip_id = c.id AND l.active GROUP BY c.id
        HAVING c.used_milli <> coalesce(sum(l.milli) FILTER (WHERE l.kind = 'owned'), 0)
            OR c.guest_milli <> coalesce(sum(l.milli) FILTER (WHERE l.kind = 'guest'), 0)
            OR greatest(c.used_milli, c.guest_milli) > 1000""",
    "a live attempt holds all that it was given, one that has ended nothing": """
        SELECT a.public_id, a.state, l.active FROM jobs_attempt a JOIN jobs_allocation l ON l.attempt_id = a.id
         WHERE l.active <> (a.state <> 'ended')""",
    "a job is active exactly while it has a live attempt": """
        SELECT j.public_id, j.state, a.state FROM jobs_job j
          LEFT JOIN jobs_attempt a ON a.job_id = j.id AND a.state <> 'ended'
         WHERE (j.state = 'active') <> (a.id IS NOT NULL)""",
    "what a team uses is the sum of what its live attempts are charged": """
        SELECT u.team_id, u.chip_type, u.used_milli FROM tenancy_teamuse u
         WHERE u.used_milli <> (
            WITH RECURSIVE below AS (
                SELECT u.team_id AS id UNION SELECT t.id FROM tenancy_team t JOIN below ON t.parent_id = below.id)
            SELECT coalesce(sum(l.charge_milli), 0) FROM jobs_allocation l JOIN jobs_attempt a ON a.id = l.attempt_id
              JOIN jobs_job j ON j.id = a.job_id JOIN cluster_chip c ON c.id = l.chip_id
             WHERE l.active AND l.kind = 'owned' AND c.type = u.chip_type AND j.team_id IN (SELECT id FROM below))""",
    "the memory counter of a node is the sum over its live replicas": """
        SELECT n.name, n.used_memory_mib, sum(r.memory_mib) FROM cluster_node n
          LEFT JOIN (jobs_replica r JOIN jobs_attempt a ON a.id = r.attempt_id AND a.state <> 'ended')
                 ON r.node_id = n.id
         GROUP BY n.id HAVING n.used_memory_mib <> coalesce(sum(r.memory_mib), 0)""",
    "the ledger has what each attempt that ended held, to the millisecond": """
        SELECT held.id, held.owed, coalesce(line.booked, 0) FROM (
            SELECT a.id, sum((CASE l.kind WHEN 'owned' THEN l.charge_milli ELSE l.milli END)::bigint * (
                       floor(extract(epoch FROM a.ended_at) * 1000)::bigint
                       - floor(extract(epoch FROM a.placed_at) * 1000)::bigint)) AS owed
              FROM jobs_attempt a JOIN jobs_allocation l ON l.attempt_id = a.id WHERE a.state = 'ended' GROUP BY a.id
          ) AS held LEFT JOIN (
            SELECT attempt, sum(starting + running + stopping + guest) AS booked FROM tenancy_usageline GROUP BY attempt
          ) AS line ON line.attempt = held.id
         WHERE held.owed <> coalesce(line.booked, 0)""",
    "the days of the ledger are the sum of its settled lines": """
        SELECT team_id, day, chip_type, lines.booked, days.booked FROM (
            SELECT team_id, day, chip_type, sum(starting + running + stopping + guest) AS booked
              FROM tenancy_usageline WHERE settled GROUP BY team_id, day, chip_type) AS lines
          FULL JOIN (
            SELECT team_id, day, chip_type, sum(starting + running + stopping + guest) AS booked
              FROM tenancy_usageday GROUP BY team_id, day, chip_type) AS days USING (team_id, day, chip_type)
         WHERE lines.booked IS DISTINCT FROM days.booked""",
    "a job has as many attempts as it counts, and each move of its history begins where the one before led": """
        SELECT j.public_id, j.attempts_count::text, count(a.id)::text FROM jobs_job j
          LEFT JOIN jobs_attempt a ON a.job_id = j.id GROUP BY j.id HAVING j.attempts_count <> count(a.id)
        UNION ALL
        SELECT job_id::text, to_state, next FROM (
            SELECT job_id, to_state, lead(from_state) OVER (PARTITION BY job_id ORDER BY id) AS next
              FROM jobs_event WHERE kind LIKE 'job.%' AND from_state <> '' AND to_state <> '') AS moves
         WHERE next <> to_state AND NOT (to_state = 'queued' AND next = 'active')""",
    "a log never has more than was written": """
        SELECT id, log_offset, log_size FROM jobs_replica WHERE log_offset > log_size""",
}
IN_THE_END = {
    "nothing is held": """
        SELECT 'chip', id FROM cluster_chip WHERE used_milli + guest_milli + used_memory_mib + guest_memory_mib > 0
        UNION ALL SELECT 'node', id FROM cluster_node WHERE used_cpu_milli + used_memory_mib > 0
        UNION ALL SELECT 'team', team_id FROM tenancy_teamuse WHERE used_milli > 0
        UNION ALL SELECT 'replica', id FROM jobs_replica WHERE state <> 'ended'""",
    "every log is whole": """
        SELECT r.id, r.outcome, r.log_offset, r.log_size, coalesce(sum(length(p.data)), 0) AS stored
          FROM jobs_replica r LEFT JOIN jobs_logpiece p ON p.replica_id = r.id GROUP BY r.id
        HAVING (r.log_offset IS DISTINCT FROM r.log_size AND NOT (r.outcome = 'node_lost' AND r.log_size IS NULL))
            OR (r.log_offset <> coalesce(sum(length(p.data)), 0) AND r.log_offset > 0)""",
}


class Rows:
    """The rows of a live embedded platform, read past the platform itself."""

    def __init__(self, data_dir: Path) -> None:
        self._url = f"postgresql://flexai@/flexai?host={data_dir}/postgres/socket"

    def broken(self, laws: dict[str, str]) -> list[str]:
        """Each law that does not hold, with the first rows that break it. Raises OperationalError while the server is
        away."""
        found = []
        with psycopg.connect(self._url, connect_timeout=5) as connection:
            connection.execute("SET default_transaction_isolation TO 'repeatable read'")
            for said, query in laws.items():
                rows = connection.execute(query).fetchmany(5)  # type: ignore[call-overload]
                found += [f"{said}: {rows}"] if rows else []
        return found

    def names(self) -> list[str]:
        """Of every job there is."""
        with psycopg.connect(self._url, connect_timeout=5) as connection:
            return [row[0] for row in connection.execute("SELECT name FROM jobs_job ORDER BY id")]

    def kinds(self) -> set[str]:
        """Of every event of a job."""
        with psycopg.connect(self._url, connect_timeout=5) as connection:
            return {row[0] for row in connection.execute("SELECT DISTINCT kind FROM jobs_event")}
