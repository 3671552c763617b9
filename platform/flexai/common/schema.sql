-- What the migrations named at its end leave in an empty database. Written by `make fresh-schema`.
SET LOCAL check_function_bodies = false;

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
CREATE FUNCTION public.flexai_mark_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.changed := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$;
CREATE FUNCTION public.flexai_note_removal() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO scheduling_removal (kind, "row", at, changed)
    VALUES (TG_ARGV[0], OLD.id, clock_timestamp(), pg_current_xact_id()::text::bigint);
    RETURN NULL;
END $$;
CREATE FUNCTION public.flexai_refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
CREATE FUNCTION public.jobs_event_told() RETURNS trigger
    LANGUAGE plpgsql
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM notifications_webhook WHERE is_on) AND NOT EXISTS (SELECT 1 FROM jobs_notice) THEN
        RETURN NULL;
    END IF;
    INSERT INTO notifications_delivery (
        public_id, organization_id, hook_id, user_id, event, at, data, state, tries, next_at, answer)
    WITH told AS MATERIALIZED (
        SELECT * FROM (
            SELECT e.*, CASE
                WHEN kind IN ('job.submitted', 'job.requeued') THEN kind
                WHEN kind = 'attempt.running' AND from_state IN ('placed', 'starting') THEN 'job.started'
                WHEN kind = 'attempt.idle' THEN 'job.idle' WHEN kind = 'attempt.straggler' THEN 'job.straggler'
                WHEN kind NOT LIKE 'job.%' THEN NULL
                WHEN to_state IN ('succeeded', 'failed', 'cancelled', 'timed_out') AND from_state <> to_state
                    THEN 'job.' || to_state
                WHEN kind = 'job.queued' THEN CASE reason_code
                    WHEN 'preempted' THEN 'job.preempted' WHEN 'idle_suspended' THEN 'job.suspended'
                    ELSE 'job.requeued' END
                WHEN to_state = 'suspended' AND from_state <> to_state THEN 'job.suspended'
                WHEN to_state = 'held' AND (kind = 'job.held' OR reason_code = 'dependency_never') THEN 'job.held'
                END AS event
            FROM fresh e) AS named
        WHERE event IS NOT NULL AND (
            EXISTS (SELECT 1 FROM notifications_webhook h WHERE h.organization_id = named.organization_id AND h.is_on)
            OR EXISTS (SELECT 1 FROM jobs_notice n WHERE n.job_id = named.job_id))
    ), whole AS MATERIALIZED (
        SELECT told.*, j.public_id AS job, j.name, j.team_id, t.name AS team, u.username, s.public_id AS of_set,
            j.index, j.labels, j.submitted_at, j.started_at, j.ended_at, j.outcome, j.exit_code, o.slug,
            told.to_state IN ('succeeded', 'failed', 'cancelled', 'timed_out', 'queued') AS is_over
        FROM told JOIN jobs_job j ON j.id = told.job_id JOIN tenancy_team t ON t.id = j.team_id
        JOIN tenancy_user u ON u.id = j.user_id JOIN tenancy_organization o ON o.id = j.organization_id
        LEFT JOIN jobs_jobset s ON s.id = j.set_id
    ), asked AS MATERIALIZED (
        SELECT kinds.*, hook FROM (SELECT DISTINCT organization_id, team_id, event FROM whole) AS kinds,
            LATERAL notifications_hooks_of(kinds.organization_id, kinds.team_id, kinds.event) AS hook
    )
    SELECT 'msg-' || replace(gen_random_uuid()::text, '-', ''), w.organization_id, r.hook, r.person, w.event, w.at,
        jsonb_build_object(
            'organization', w.slug, 'from', w.from_state, 'to', w.to_state, 'reason_code', w.reason_code,
            'sentence', w.sentence,
            'job', jsonb_build_object(
                'id', w.job, 'name', w.name, 'team', w.team, 'user', w.username, 'set', w.of_set, 'index', w.index,
                'labels', w.labels, 'attempt', w.attempt, 'submitted_at', w.submitted_at,
                'started_at', CASE WHEN w.event = 'job.started' THEN w.at ELSE w.started_at END,
                'ended_at', w.ended_at, 'outcome', CASE WHEN w.is_over THEN w.outcome ELSE '' END,
                'exit_code', CASE WHEN w.is_over THEN w.exit_code END)),
        'pending', 0, clock_timestamp(), ''
    FROM whole w, LATERAL (
        SELECT a.hook, NULL::bigint AS person FROM asked a
        WHERE a.organization_id = w.organization_id AND a.team_id = w.team_id AND a.event = w.event
        UNION SELECT n.hook_id, NULL FROM jobs_notice n JOIN notifications_webhook h ON h.id = n.hook_id AND h.is_on
            WHERE n.job_id = w.job_id AND w.event = ANY(n."on")
        UNION SELECT NULL, person FROM jobs_notice n, unnest(n.users) AS person
            WHERE n.job_id = w.job_id AND w.event = ANY(n."on")
    ) AS r
    ORDER BY w.id;
    RETURN NULL;
END $$;
CREATE FUNCTION public.jobs_is_named() RETURNS trigger
    LANGUAGE plpgsql
    AS $_$
DECLARE
    is_named boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I WHERE %I = $1)', TG_ARGV[0], TG_ARGV[1]) INTO is_named USING OLD.id;
    IF is_named THEN
        RAISE foreign_key_violation USING MESSAGE = format(
            'row %s of %s is still named by rows of %s', OLD.id, TG_TABLE_NAME, TG_ARGV[0]);
    END IF;
    RETURN NULL;
END $_$;
CREATE FUNCTION public.jobs_outputs_left() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO jobs_outputleft (attempt_public_id) SELECT public_id FROM jobs_attempt WHERE id = OLD.attempt_id;
    RETURN NULL;
END $$;
CREATE FUNCTION public.notifications_hooks_of(of_organization bigint, of_team bigint, of_event text) RETURNS SETOF bigint
    LANGUAGE sql STABLE
    AS $$
    WITH RECURSIVE line (id) AS (
        SELECT of_team UNION SELECT t.parent_id FROM line JOIN tenancy_team t ON t.id = line.id
        WHERE t.parent_id IS NOT NULL)
    SELECT h.id FROM notifications_webhook h
    WHERE h.organization_id = of_organization AND h.is_on AND of_event = ANY(h.events)
        AND (h.team_id IS NULL OR h.team_id IN (SELECT id FROM line))
$$;
CREATE TABLE public.auth_group (
    id integer NOT NULL,
    name character varying(150) NOT NULL
);
ALTER TABLE public.auth_group ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.auth_group_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.auth_group_permissions (
    id bigint NOT NULL,
    group_id integer NOT NULL,
    permission_id integer NOT NULL
);
ALTER TABLE public.auth_group_permissions ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.auth_group_permissions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.auth_permission (
    id integer NOT NULL,
    name character varying(255) NOT NULL,
    content_type_id integer NOT NULL,
    codename character varying(100) NOT NULL
);
ALTER TABLE public.auth_permission ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.auth_permission_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.cluster_cell (
    id bigint NOT NULL,
    name character varying(63) NOT NULL,
    created_at timestamp with time zone NOT NULL
);
ALTER TABLE public.cluster_cell ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.cluster_cell_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.cluster_chip (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    index integer NOT NULL,
    type character varying(64) NOT NULL,
    uuid character varying(64) NOT NULL,
    driver character varying(16) NOT NULL,
    memory_mib integer NOT NULL,
    memory_ceiling_mib integer NOT NULL,
    present boolean NOT NULL,
    healthy boolean NOT NULL,
    health integer NOT NULL,
    health_note character varying(200) NOT NULL,
    isolation character varying(16)[] NOT NULL,
    host_cpu_milli integer NOT NULL,
    link_domain character varying(63) NOT NULL,
    used_milli integer NOT NULL,
    used_memory_mib integer NOT NULL,
    guest_milli integer NOT NULL,
    guest_memory_mib integer NOT NULL,
    changed bigint NOT NULL,
    cell_id bigint NOT NULL,
    parent_id bigint,
    node_id bigint NOT NULL,
    answers boolean NOT NULL,
    drained_at timestamp with time zone,
    errors jsonb,
    health_reason character varying(200) NOT NULL,
    of integer NOT NULL,
    slices integer NOT NULL,
    cordoned_because character varying(200) DEFAULT ''::character varying NOT NULL,
    CONSTRAINT chip_memory_within_capacity CHECK (((used_memory_mib >= 0) AND (guest_memory_mib >= 0) AND (memory_ceiling_mib >= (used_memory_mib + guest_memory_mib)))),
    CONSTRAINT chip_milli_within_capacity CHECK (((used_milli >= 0) AND (used_milli <= 1000))),
    CONSTRAINT cluster_chip_health_check CHECK ((health >= 0)),
    CONSTRAINT cluster_chip_host_cpu_milli_check CHECK ((host_cpu_milli >= 0)),
    CONSTRAINT cluster_chip_index_check CHECK ((index >= 0)),
    CONSTRAINT cluster_chip_memory_ceiling_mib_check CHECK ((memory_ceiling_mib >= 0)),
    CONSTRAINT cluster_chip_memory_mib_check CHECK ((memory_mib >= 0)),
    CONSTRAINT cluster_chip_of_check CHECK ((of >= 0)),
    CONSTRAINT cluster_chip_slices_check CHECK ((slices >= 0)),
    CONSTRAINT guest_milli_within_capacity CHECK (((guest_milli >= 0) AND (guest_milli <= 1000)))
)
WITH (fillfactor='50');
ALTER TABLE public.cluster_chip ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.cluster_chip_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.cluster_chiphealth (
    chip_id bigint NOT NULL,
    score integer NOT NULL,
    rises_at bigint NOT NULL,
    drained_at bigint,
    quiet_since bigint,
    drains integer NOT NULL,
    faulted_at bigint,
    uncorrected bigint NOT NULL,
    grave_xids integer NOT NULL,
    CONSTRAINT cluster_chiphealth_drains_check CHECK ((drains >= 0)),
    CONSTRAINT cluster_chiphealth_grave_xids_check CHECK ((grave_xids >= 0)),
    CONSTRAINT cluster_chiphealth_score_check CHECK ((score >= 0))
);
CREATE TABLE public.cluster_chiptype (
    id bigint NOT NULL,
    name character varying(64) NOT NULL,
    vendor character varying(32) NOT NULL,
    nominal_memory_mib integer NOT NULL,
    speed integer NOT NULL,
    CONSTRAINT cluster_chiptype_nominal_memory_mib_check CHECK ((nominal_memory_mib >= 0)),
    CONSTRAINT cluster_chiptype_speed_check CHECK ((speed >= 0))
);
ALTER TABLE public.cluster_chiptype ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.cluster_chiptype_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.cluster_enrolmenttoken (
    id bigint NOT NULL,
    hash character varying(64) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    uses_left integer NOT NULL,
    pool_id bigint NOT NULL,
    CONSTRAINT cluster_enrolmenttoken_uses_left_check CHECK ((uses_left >= 0))
);
ALTER TABLE public.cluster_enrolmenttoken ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.cluster_enrolmenttoken_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.cluster_node (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    name character varying(63) NOT NULL,
    state character varying(16) NOT NULL,
    state_reason character varying(200) NOT NULL,
    reachable boolean NOT NULL,
    credential_hash character varying(64) NOT NULL,
    credential_revoked_at timestamp with time zone,
    agent_version character varying(32) NOT NULL,
    address character varying(64) NOT NULL,
    simulated boolean NOT NULL,
    separate_users boolean NOT NULL,
    topology character varying(63)[] NOT NULL,
    notes character varying(500)[] NOT NULL,
    cpu_milli integer NOT NULL,
    memory_mib integer NOT NULL,
    cpu_ceiling_milli integer NOT NULL,
    memory_ceiling_mib integer NOT NULL,
    used_cpu_milli integer NOT NULL,
    used_memory_mib integer NOT NULL,
    wanted_version bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    version integer NOT NULL,
    changed bigint NOT NULL,
    cell_id bigint NOT NULL,
    pool_id bigint NOT NULL,
    images boolean NOT NULL,
    CONSTRAINT cluster_node_cpu_ceiling_milli_check CHECK ((cpu_ceiling_milli >= 0)),
    CONSTRAINT cluster_node_cpu_milli_check CHECK ((cpu_milli >= 0)),
    CONSTRAINT cluster_node_memory_ceiling_mib_check CHECK ((memory_ceiling_mib >= 0)),
    CONSTRAINT cluster_node_memory_mib_check CHECK ((memory_mib >= 0)),
    CONSTRAINT cluster_node_version_check CHECK ((version >= 0)),
    CONSTRAINT node_cpu_within_capacity CHECK (((used_cpu_milli >= 0) AND (used_cpu_milli <= cpu_ceiling_milli))),
    CONSTRAINT node_memory_within_capacity CHECK (((used_memory_mib >= 0) AND (used_memory_mib <= memory_ceiling_mib)))
)
WITH (fillfactor='50');
ALTER TABLE public.cluster_node ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.cluster_node_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.cluster_nodecontact (
    node_id bigint NOT NULL,
    boot_id character varying(64) NOT NULL,
    seen_at timestamp with time zone,
    renewed_at timestamp with time zone
);
CREATE TABLE public.cluster_nodeevent (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    kind character varying(48) NOT NULL,
    reason_code character varying(48) NOT NULL,
    sentence text NOT NULL,
    facts jsonb NOT NULL,
    actor character varying(200) NOT NULL,
    node_id bigint NOT NULL
);
ALTER TABLE public.cluster_nodeevent ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.cluster_nodeevent_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.cluster_nodehour (
    node_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    samples integer NOT NULL,
    host_cpu_permille integer NOT NULL,
    host_memory_mib integer NOT NULL,
    use_permille integer[] NOT NULL,
    memory_use_permille integer[] NOT NULL,
    memory_mib integer[] NOT NULL,
    temperature_c integer[] NOT NULL,
    power_mw integer[] NOT NULL
)
PARTITION BY RANGE (at);
CREATE TABLE public.cluster_nodeminute (
    node_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    samples integer NOT NULL,
    host_cpu_permille integer NOT NULL,
    host_memory_mib integer NOT NULL,
    use_permille integer[] NOT NULL,
    memory_use_permille integer[] NOT NULL,
    memory_mib integer[] NOT NULL,
    temperature_c integer[] NOT NULL,
    power_mw integer[] NOT NULL
)
PARTITION BY RANGE (at);
CREATE TABLE public.cluster_pool (
    id bigint NOT NULL,
    name character varying(63) NOT NULL,
    slice_step_milli integer NOT NULL,
    changed bigint NOT NULL,
    cell_id bigint NOT NULL,
    CONSTRAINT cluster_pool_slice_step_milli_check CHECK ((slice_step_milli >= 0)),
    CONSTRAINT slice_step_10_to_1000 CHECK (((slice_step_milli >= 10) AND (slice_step_milli <= 1000)))
);
ALTER TABLE public.cluster_pool ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.cluster_pool_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.django_admin_log (
    id integer NOT NULL,
    action_time timestamp with time zone NOT NULL,
    object_id text,
    object_repr character varying(200) NOT NULL,
    action_flag smallint NOT NULL,
    change_message text NOT NULL,
    content_type_id integer,
    user_id bigint NOT NULL,
    CONSTRAINT django_admin_log_action_flag_check CHECK ((action_flag >= 0))
);
ALTER TABLE public.django_admin_log ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.django_admin_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.django_content_type (
    id integer NOT NULL,
    app_label character varying(100) NOT NULL,
    model character varying(100) NOT NULL
);
ALTER TABLE public.django_content_type ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.django_content_type_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.django_migrations (
    id bigint NOT NULL,
    app character varying(255) NOT NULL,
    name character varying(255) NOT NULL,
    applied timestamp with time zone NOT NULL
);
ALTER TABLE public.django_migrations ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.django_migrations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_allocation (
    id bigint NOT NULL,
    kind character varying(8) NOT NULL,
    milli integer NOT NULL,
    memory_mib integer NOT NULL,
    charge_milli integer NOT NULL,
    cpu_milli integer NOT NULL,
    active boolean NOT NULL,
    chip_id bigint NOT NULL,
    attempt_id bigint NOT NULL,
    replica_id bigint NOT NULL,
    CONSTRAINT jobs_allocation_charge_milli_check CHECK ((charge_milli >= 0)),
    CONSTRAINT jobs_allocation_cpu_milli_check CHECK ((cpu_milli >= 0)),
    CONSTRAINT jobs_allocation_memory_mib_check CHECK ((memory_mib >= 0)),
    CONSTRAINT jobs_allocation_milli_check CHECK ((milli >= 0))
);
ALTER TABLE public.jobs_allocation ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_allocation_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_attempt (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    number integer NOT NULL,
    state character varying(16) NOT NULL,
    outcome character varying(20) NOT NULL,
    contact_ok boolean NOT NULL,
    stop_outcome character varying(20) NOT NULL,
    lease_ms bigint,
    exit_code integer,
    reason_code character varying(48) NOT NULL,
    sentence text NOT NULL,
    placed_at timestamp with time zone NOT NULL,
    running_at timestamp with time zone,
    stopping_at timestamp with time zone,
    ended_at timestamp with time zone,
    cpu_time_ms bigint NOT NULL,
    memory_peak_mib integer NOT NULL,
    use_permille integer,
    version integer NOT NULL,
    changed bigint NOT NULL,
    cell_id bigint NOT NULL,
    organization_id bigint NOT NULL,
    job_id bigint NOT NULL,
    energy_mj bigint,
    CONSTRAINT jobs_attempt_memory_peak_mib_check CHECK ((memory_peak_mib >= 0)),
    CONSTRAINT jobs_attempt_number_check CHECK ((number >= 0)),
    CONSTRAINT jobs_attempt_use_permille_check CHECK ((use_permille >= 0)),
    CONSTRAINT jobs_attempt_version_check CHECK ((version >= 0))
);
ALTER TABLE public.jobs_attempt ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_attempt_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_attempthour (
    attempt_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    samples bigint NOT NULL,
    use_total bigint,
    cpu_total bigint NOT NULL,
    memory_total bigint NOT NULL,
    wait_total bigint NOT NULL,
    memory_peak_mib integer NOT NULL
)
PARTITION BY RANGE (at);
CREATE TABLE public.jobs_attemptminute (
    attempt_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    samples bigint NOT NULL,
    use_total bigint,
    cpu_total bigint NOT NULL,
    memory_total bigint NOT NULL,
    wait_total bigint NOT NULL,
    memory_peak_mib integer NOT NULL
)
PARTITION BY RANGE (at);
CREATE TABLE public.jobs_attemptprogress (
    attempt_id bigint NOT NULL,
    replica integer NOT NULL,
    first_at timestamp with time zone NOT NULL,
    at timestamp with time zone NOT NULL,
    step bigint,
    throughput_milli bigint,
    loss double precision,
    saving_since timestamp with time zone,
    saved_step bigint,
    saved_at timestamp with time zone,
    told_saved_at timestamp with time zone,
    problem character varying(200) NOT NULL,
    CONSTRAINT jobs_attemptprogress_replica_check CHECK ((replica >= 0))
);
CREATE TABLE public.jobs_batch (
    job_id bigint NOT NULL,
    ids character varying(32)[] NOT NULL
);
CREATE TABLE public.jobs_dependency (
    id bigint NOT NULL,
    after character varying(12) NOT NULL,
    otherwise character varying(8) NOT NULL,
    job_id bigint NOT NULL,
    on_job_id bigint,
    on_set_id bigint,
    CONSTRAINT dependency_on_job_or_set CHECK ((((on_job_id IS NOT NULL) AND (on_set_id IS NULL)) OR ((on_job_id IS NULL) AND (on_set_id IS NOT NULL)))),
    CONSTRAINT dependency_on_older_job CHECK (((on_job_id IS NULL) OR (on_job_id < job_id)))
);
ALTER TABLE public.jobs_dependency ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_dependency_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_event (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    attempt integer,
    kind character varying(48) NOT NULL,
    from_state character varying(16) NOT NULL,
    to_state character varying(16) NOT NULL,
    reason_code character varying(48) NOT NULL,
    sentence text NOT NULL,
    facts jsonb NOT NULL,
    actor character varying(200) NOT NULL,
    cause character varying(64) NOT NULL,
    organization_id bigint,
    job_id bigint NOT NULL,
    CONSTRAINT jobs_event_attempt_check CHECK ((attempt >= 0))
);
ALTER TABLE public.jobs_event ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_guest (
    attempt_id bigint NOT NULL,
    cell_id bigint NOT NULL,
    lenders bigint[] NOT NULL,
    rule jsonb NOT NULL,
    paused_at timestamp with time zone
);
CREATE TABLE public.jobs_idleattempt (
    attempt_id bigint NOT NULL,
    since timestamp with time zone NOT NULL,
    use_permille integer NOT NULL,
    notified_at timestamp with time zone,
    acts_at timestamp with time zone,
    cell_id bigint NOT NULL,
    CONSTRAINT jobs_idleattempt_use_permille_check CHECK ((use_permille >= 0))
);
CREATE TABLE public.jobs_job (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    index integer,
    name character varying(100) NOT NULL,
    type character varying(16) NOT NULL,
    state character varying(16) NOT NULL,
    status character varying(16) NOT NULL,
    reason_code character varying(48) NOT NULL,
    sentence text NOT NULL,
    priority smallint NOT NULL,
    preemptible boolean NOT NULL,
    spec jsonb NOT NULL,
    effective_spec jsonb NOT NULL,
    spec_version integer NOT NULL,
    labels jsonb NOT NULL,
    idempotency_key character varying(200),
    idempotency_hash character varying(64) NOT NULL,
    submitted_at timestamp with time zone NOT NULL,
    start_after timestamp with time zone,
    started_at timestamp with time zone,
    ended_at timestamp with time zone,
    cancel_requested_at timestamp with time zone,
    attempts_count integer NOT NULL,
    failures integer NOT NULL,
    exit_code integer,
    outcome character varying(20) NOT NULL,
    version integer NOT NULL,
    changed bigint NOT NULL,
    cell_id bigint NOT NULL,
    organization_id bigint NOT NULL,
    team_id bigint NOT NULL,
    user_id bigint NOT NULL,
    set_id bigint,
    attained bigint DEFAULT 0 NOT NULL,
    times_taken integer DEFAULT 0 NOT NULL,
    kept_until timestamp with time zone,
    speeds jsonb DEFAULT '{}'::jsonb NOT NULL,
    restart_ms integer DEFAULT 0 NOT NULL,
    schedule_id bigint,
    deadline timestamp with time zone,
    CONSTRAINT jobs_job_attempts_count_check CHECK ((attempts_count >= 0)),
    CONSTRAINT jobs_job_failures_check CHECK ((failures >= 0)),
    CONSTRAINT jobs_job_index_check CHECK ((index >= 0)),
    CONSTRAINT jobs_job_priority_check CHECK ((priority >= 0)),
    CONSTRAINT jobs_job_restart_ms_check CHECK ((restart_ms >= 0)),
    CONSTRAINT jobs_job_spec_version_check CHECK ((spec_version >= 0)),
    CONSTRAINT jobs_job_times_taken_check CHECK ((times_taken >= 0)),
    CONSTRAINT jobs_job_version_check CHECK ((version >= 0))
);
ALTER TABLE public.jobs_job ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_job_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_jobname (
    id bigint NOT NULL,
    name character varying(100) NOT NULL,
    organization_id bigint NOT NULL
);
ALTER TABLE public.jobs_jobname ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_jobname_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_jobset (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    name character varying(100) NOT NULL,
    size integer NOT NULL,
    cap integer,
    created_at timestamp with time zone NOT NULL,
    organization_id bigint NOT NULL,
    team_id bigint NOT NULL,
    CONSTRAINT jobs_jobset_cap_check CHECK ((cap >= 0)),
    CONSTRAINT jobs_jobset_size_check CHECK ((size >= 0))
);
ALTER TABLE public.jobs_jobset ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_jobset_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_logpiece (
    id bigint NOT NULL,
    "offset" bigint NOT NULL,
    data bytea NOT NULL,
    replica_id bigint NOT NULL
);
ALTER TABLE public.jobs_logpiece ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_logpiece_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_notice (
    job_id bigint NOT NULL,
    "on" character varying(32)[] NOT NULL,
    users bigint[] NOT NULL,
    hook_id bigint
);
CREATE TABLE public.jobs_offer (
    attempt_id bigint NOT NULL,
    cell_id bigint NOT NULL,
    idle_since timestamp with time zone,
    offered_at timestamp with time zone,
    busy_at timestamp with time zone,
    ended smallint DEFAULT 0 NOT NULL,
    use_permille integer DEFAULT 0 NOT NULL,
    CONSTRAINT jobs_offer_ended_check CHECK ((ended >= 0)),
    CONSTRAINT jobs_offer_use_permille_check CHECK ((use_permille >= 0))
);
CREATE TABLE public.jobs_outputfile (
    id bigint NOT NULL,
    number integer NOT NULL,
    path text NOT NULL,
    size bigint NOT NULL,
    stored bigint NOT NULL,
    outputs_id bigint NOT NULL,
    CONSTRAINT jobs_outputfile_number_check CHECK ((number >= 0))
);
ALTER TABLE public.jobs_outputfile ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_outputfile_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_outputleft (
    id bigint NOT NULL,
    attempt_public_id character varying(32) NOT NULL
);
ALTER TABLE public.jobs_outputleft ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_outputleft_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_outputset (
    attempt_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    files integer NOT NULL,
    bytes bigint NOT NULL,
    said text[] NOT NULL,
    complete boolean NOT NULL,
    removed_at timestamp with time zone,
    swept boolean NOT NULL,
    organization_id bigint NOT NULL,
    CONSTRAINT jobs_outputset_files_check CHECK ((files >= 0))
);
CREATE TABLE public.jobs_replica (
    id bigint NOT NULL,
    index integer NOT NULL,
    state character varying(16) NOT NULL,
    generation integer NOT NULL,
    cpu_milli integer NOT NULL,
    memory_mib integer NOT NULL,
    exit_code integer,
    outcome character varying(20) NOT NULL,
    sentence text NOT NULL,
    log_offset bigint NOT NULL,
    log_size bigint,
    attempt_id bigint NOT NULL,
    node_id bigint NOT NULL,
    image character varying(135) DEFAULT ''::character varying NOT NULL,
    CONSTRAINT jobs_replica_cpu_milli_check CHECK ((cpu_milli >= 0)),
    CONSTRAINT jobs_replica_generation_check CHECK ((generation >= 0)),
    CONSTRAINT jobs_replica_index_check CHECK ((index >= 0)),
    CONSTRAINT jobs_replica_memory_mib_check CHECK ((memory_mib >= 0))
);
ALTER TABLE public.jobs_replica ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_replica_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_schedule (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    name character varying(100) NOT NULL,
    cron character varying(100) NOT NULL,
    timezone character varying(64) NOT NULL,
    catch_up character varying(8) NOT NULL,
    overlap character varying(8) NOT NULL,
    spec jsonb NOT NULL,
    paused boolean NOT NULL,
    next_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone,
    problem text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    version integer NOT NULL,
    last_job_id bigint,
    organization_id bigint NOT NULL,
    team_id bigint NOT NULL,
    user_id bigint NOT NULL,
    CONSTRAINT jobs_schedule_version_check CHECK ((version >= 0))
);
ALTER TABLE public.jobs_schedule ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.jobs_schedule_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.jobs_straggler (
    attempt_id bigint NOT NULL,
    since timestamp with time zone,
    sign character varying(8) NOT NULL,
    sentence text NOT NULL,
    facts jsonb NOT NULL,
    nodes bigint[] NOT NULL,
    told_at timestamp with time zone,
    acts_at timestamp with time zone,
    leaves_at timestamp with time zone,
    moved_at timestamp with time zone,
    cell_id bigint NOT NULL
);
CREATE TABLE public.notifications_delivery (
    id bigint NOT NULL,
    public_id character varying(36) NOT NULL,
    event character varying(32) NOT NULL,
    at timestamp with time zone NOT NULL,
    data jsonb NOT NULL,
    state character varying(10) NOT NULL,
    tries smallint NOT NULL,
    next_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone,
    status smallint,
    answer character varying(300) NOT NULL,
    organization_id bigint NOT NULL,
    user_id bigint,
    hook_id bigint,
    CONSTRAINT delivery_to_hook_or_user CHECK ((((hook_id IS NOT NULL) AND (user_id IS NULL)) OR ((hook_id IS NULL) AND (user_id IS NOT NULL)))),
    CONSTRAINT notifications_delivery_status_check CHECK ((status >= 0)),
    CONSTRAINT notifications_delivery_tries_check CHECK ((tries >= 0))
);
ALTER TABLE public.notifications_delivery ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.notifications_delivery_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.notifications_webhook (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    name character varying(63) NOT NULL,
    description character varying(200) NOT NULL,
    url character varying(500) NOT NULL,
    events character varying(32)[] NOT NULL,
    secret text NOT NULL,
    former_secret text NOT NULL,
    former_until timestamp with time zone,
    is_on boolean NOT NULL,
    off_because character varying(300) NOT NULL,
    failing_since timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    version integer NOT NULL,
    organization_id bigint NOT NULL,
    team_id bigint,
    CONSTRAINT notifications_webhook_version_check CHECK ((version >= 0))
);
ALTER TABLE public.notifications_webhook ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.notifications_webhook_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.scheduling_cellpolicy (
    cell_id bigint NOT NULL,
    "values" jsonb NOT NULL
);
CREATE TABLE public.scheduling_cycle (
    id bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    read_ms integer NOT NULL,
    decide_ms integer NOT NULL,
    apply_ms integer NOT NULL,
    waiting integer NOT NULL,
    units integer NOT NULL,
    applied integer NOT NULL,
    dropped integer NOT NULL,
    rebuilt boolean NOT NULL,
    broken_laws jsonb NOT NULL,
    error text NOT NULL,
    cell_id bigint NOT NULL,
    excesses jsonb NOT NULL,
    effort integer NOT NULL,
    seen integer NOT NULL,
    decided jsonb DEFAULT '[]'::jsonb NOT NULL,
    reasons jsonb DEFAULT '[]'::jsonb NOT NULL,
    CONSTRAINT scheduling_cycle_applied_check CHECK ((applied >= 0)),
    CONSTRAINT scheduling_cycle_apply_ms_check CHECK ((apply_ms >= 0)),
    CONSTRAINT scheduling_cycle_decide_ms_check CHECK ((decide_ms >= 0)),
    CONSTRAINT scheduling_cycle_dropped_check CHECK ((dropped >= 0)),
    CONSTRAINT scheduling_cycle_effort_check CHECK ((effort >= 0)),
    CONSTRAINT scheduling_cycle_read_ms_check CHECK ((read_ms >= 0)),
    CONSTRAINT scheduling_cycle_seen_check CHECK ((seen >= 0)),
    CONSTRAINT scheduling_cycle_units_check CHECK ((units >= 0)),
    CONSTRAINT scheduling_cycle_waiting_check CHECK ((waiting >= 0))
);
ALTER TABLE public.scheduling_cycle ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.scheduling_cycle_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.scheduling_forecast (
    job_id bigint NOT NULL,
    made_at timestamp with time zone NOT NULL,
    p50_at timestamp with time zone NOT NULL,
    p90_at timestamp with time zone NOT NULL,
    first_made_at timestamp with time zone NOT NULL,
    first_p50_at timestamp with time zone NOT NULL,
    first_p90_at timestamp with time zone NOT NULL,
    cell_id bigint NOT NULL
);
CREATE TABLE public.scheduling_mix (
    cell_id bigint NOT NULL,
    requests jsonb NOT NULL,
    learned_at timestamp with time zone NOT NULL,
    changed bigint NOT NULL
);
CREATE TABLE public.scheduling_pastuse (
    id bigint NOT NULL,
    chip_type character varying(64) NOT NULL,
    service bigint NOT NULL,
    as_of timestamp with time zone NOT NULL,
    changed bigint NOT NULL,
    cell_id bigint NOT NULL,
    team_id bigint NOT NULL
);
ALTER TABLE public.scheduling_pastuse ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.scheduling_pastuse_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.scheduling_promise (
    id bigint NOT NULL,
    attempts jsonb NOT NULL,
    placements jsonb NOT NULL,
    since timestamp with time zone NOT NULL,
    changed bigint NOT NULL,
    cell_id bigint NOT NULL
);
CREATE TABLE public.scheduling_quarantine (
    job_id bigint NOT NULL,
    law character varying(64) NOT NULL,
    since timestamp with time zone NOT NULL
);
CREATE TABLE public.scheduling_recording (
    id bigint NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    cycles integer NOT NULL,
    size integer NOT NULL,
    data bytea NOT NULL,
    cell_id bigint NOT NULL,
    CONSTRAINT scheduling_recording_cycles_check CHECK ((cycles >= 0)),
    CONSTRAINT scheduling_recording_size_check CHECK ((size >= 0))
);
ALTER TABLE public.scheduling_recording ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.scheduling_recording_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.scheduling_removal (
    id bigint NOT NULL,
    kind character varying(16) NOT NULL,
    "row" bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    changed bigint NOT NULL
);
ALTER TABLE public.scheduling_removal ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.scheduling_removal_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.scheduling_reservation (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    placements jsonb NOT NULL,
    changed bigint NOT NULL,
    cell_id bigint NOT NULL
);
CREATE TABLE public.scheduling_saving (
    id bigint NOT NULL,
    day date NOT NULL,
    made_at timestamp with time zone NOT NULL,
    problem character varying(300) NOT NULL,
    jobs integer NOT NULL,
    refused integer NOT NULL,
    held_ms bigint NOT NULL,
    fifo_held_ms bigint NOT NULL,
    waited_ms bigint NOT NULL,
    fifo_waited_ms bigint NOT NULL,
    engine_waited_ms bigint,
    span_ms bigint NOT NULL,
    fifo_span_ms bigint NOT NULL,
    idle_mw bigint NOT NULL,
    idle_measured_permille integer NOT NULL,
    drawn_mwh bigint,
    cell_id bigint NOT NULL,
    CONSTRAINT scheduling_saving_idle_measured_permille_check CHECK ((idle_measured_permille >= 0)),
    CONSTRAINT scheduling_saving_jobs_check CHECK ((jobs >= 0)),
    CONSTRAINT scheduling_saving_refused_check CHECK ((refused >= 0))
);
ALTER TABLE public.scheduling_saving ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.scheduling_saving_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.scheduling_verdict (
    job_id bigint NOT NULL,
    since timestamp with time zone NOT NULL,
    code character varying(48) NOT NULL,
    sentence text NOT NULL,
    reasons jsonb NOT NULL
);
CREATE TABLE public.tenancy_announcement (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    text character varying(500) NOT NULL,
    level character varying(8) NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    organization_id bigint,
    CONSTRAINT announcement_ends_later CHECK ((ends_at >= starts_at))
);
ALTER TABLE public.tenancy_announcement ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_announcement_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_auditentry (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor_kind character varying(16) NOT NULL,
    actor character varying(200) NOT NULL,
    action character varying(64) NOT NULL,
    object_kind character varying(32) NOT NULL,
    object_id character varying(64) NOT NULL,
    before jsonb,
    after jsonb,
    reason text NOT NULL,
    request_id character varying(64) NOT NULL,
    organization_id bigint,
    address character varying(45) DEFAULT ''::character varying NOT NULL
);
ALTER TABLE public.tenancy_auditentry ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_auditentry_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_browsersession (
    session_key character varying(40) NOT NULL,
    session_data text NOT NULL,
    expire_date timestamp with time zone NOT NULL,
    public_id character varying(32) NOT NULL,
    address character varying(45) NOT NULL,
    agent character varying(300) NOT NULL,
    began_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone NOT NULL,
    user_id bigint
);
CREATE TABLE public.tenancy_budget (
    id bigint NOT NULL,
    period character varying(8) NOT NULL,
    since date NOT NULL,
    chip_hours bigint,
    money_micro bigint,
    soft_percent smallint NOT NULL,
    hard boolean NOT NULL,
    is_warned boolean NOT NULL,
    is_spent boolean NOT NULL,
    team_id bigint NOT NULL,
    CONSTRAINT budget_not_negative CHECK ((((chip_hours IS NULL) OR (chip_hours >= 0)) AND ((money_micro IS NULL) OR (money_micro >= 0)))),
    CONSTRAINT budget_of_something CHECK (((chip_hours IS NOT NULL) OR (money_micro IS NOT NULL))),
    CONSTRAINT tenancy_budget_soft_percent_check CHECK ((soft_percent >= 0))
);
ALTER TABLE public.tenancy_budget ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_budget_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_identity (
    id bigint NOT NULL,
    issuer character varying(255) NOT NULL,
    subject character varying(255) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    user_id bigint NOT NULL
);
ALTER TABLE public.tenancy_identity ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_identity_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_jobpolicy (
    id bigint NOT NULL,
    defaults jsonb NOT NULL,
    bounds jsonb NOT NULL,
    organization_id bigint NOT NULL,
    team_id bigint
);
ALTER TABLE public.tenancy_jobpolicy ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_jobpolicy_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_membership (
    id bigint NOT NULL,
    role character varying(16) NOT NULL,
    user_id bigint NOT NULL,
    organization_id bigint NOT NULL
);
ALTER TABLE public.tenancy_membership ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_membership_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_organization (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    slug character varying(63) NOT NULL,
    name character varying(200) NOT NULL,
    created_at timestamp with time zone NOT NULL
);
ALTER TABLE public.tenancy_organization ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_organization_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_price (
    id bigint NOT NULL,
    chip_type character varying(64) NOT NULL,
    from_day date NOT NULL,
    micro_per_chip_hour bigint NOT NULL,
    CONSTRAINT price_not_negative CHECK ((micro_per_chip_hour >= 0))
);
ALTER TABLE public.tenancy_price ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_price_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_quota (
    id bigint NOT NULL,
    chip_type character varying(64) NOT NULL,
    guaranteed_milli bigint NOT NULL,
    limit_milli bigint,
    over_quota_weight integer NOT NULL,
    changed bigint NOT NULL,
    cell_id bigint NOT NULL,
    team_id bigint NOT NULL,
    CONSTRAINT quota_guaranteed_not_negative CHECK ((guaranteed_milli >= 0)),
    CONSTRAINT quota_limit_not_below_guaranteed CHECK (((limit_milli IS NULL) OR (limit_milli >= guaranteed_milli))),
    CONSTRAINT tenancy_quota_over_quota_weight_check CHECK ((over_quota_weight >= 0))
);
ALTER TABLE public.tenancy_quota ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_quota_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_quotarequest (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    chip_type character varying(64) NOT NULL,
    asked jsonb NOT NULL,
    until date,
    reason text NOT NULL,
    state character varying(16) NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    granted jsonb,
    before jsonb,
    decided_at timestamp with time zone,
    answer text NOT NULL,
    note text NOT NULL,
    asked_by_id bigint NOT NULL,
    cell_id bigint,
    decided_by_id bigint,
    organization_id bigint NOT NULL,
    team_id bigint NOT NULL,
    kind character varying(8) NOT NULL,
    CONSTRAINT quota_request_of_one_kind CHECK ((((cell_id IS NOT NULL) AND ((kind)::text = 'quota'::text)) OR ((cell_id IS NULL) AND ((chip_type)::text = ''::text) AND ((kind)::text = 'budget'::text))))
);
ALTER TABLE public.tenancy_quotarequest ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_quotarequest_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_recoverycode (
    id bigint NOT NULL,
    hash character varying(64) NOT NULL,
    used_at timestamp with time zone,
    user_id bigint NOT NULL
);
ALTER TABLE public.tenancy_recoverycode ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_recoverycode_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_secondfactor (
    id bigint NOT NULL,
    secret text NOT NULL,
    confirmed_at timestamp with time zone,
    last_step bigint NOT NULL,
    user_id bigint NOT NULL
);
ALTER TABLE public.tenancy_secondfactor ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_secondfactor_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_secret (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    name character varying(128) NOT NULL,
    sealed text NOT NULL,
    set_by character varying(200) NOT NULL,
    set_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    organization_id bigint NOT NULL,
    team_id bigint NOT NULL
);
ALTER TABLE public.tenancy_secret ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_secret_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_serviceaccount (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    name character varying(63) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    organization_id bigint NOT NULL,
    team_id bigint,
    user_id bigint NOT NULL
);
ALTER TABLE public.tenancy_serviceaccount ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_serviceaccount_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_signinrequest (
    id bigint NOT NULL,
    hash character varying(64) NOT NULL,
    code character varying(8) NOT NULL,
    machine character varying(100) NOT NULL,
    address character varying(45) NOT NULL,
    scopes jsonb NOT NULL,
    expires_in_days integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    polled_at timestamp with time zone,
    decided_at timestamp with time zone,
    given_at timestamp with time zone,
    organization_id bigint,
    user_id bigint,
    CONSTRAINT tenancy_signinrequest_expires_in_days_check CHECK ((expires_in_days >= 0))
);
ALTER TABLE public.tenancy_signinrequest ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_signinrequest_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_team (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    name character varying(63) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    version integer NOT NULL,
    changed bigint NOT NULL,
    organization_id bigint NOT NULL,
    parent_id bigint,
    CONSTRAINT tenancy_team_version_check CHECK ((version >= 0))
);
ALTER TABLE public.tenancy_team ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_team_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_teammember (
    id bigint NOT NULL,
    role character varying(16) NOT NULL,
    team_id bigint NOT NULL,
    user_id bigint NOT NULL
);
ALTER TABLE public.tenancy_teammember ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_teammember_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_teamuse (
    id bigint NOT NULL,
    chip_type character varying(64) NOT NULL,
    used_milli bigint NOT NULL,
    cell_id bigint NOT NULL,
    team_id bigint NOT NULL,
    accrued bigint DEFAULT 0 NOT NULL,
    CONSTRAINT team_use_not_negative CHECK ((used_milli >= 0))
);
ALTER TABLE public.tenancy_teamuse ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_teamuse_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_token (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    name character varying(100) NOT NULL,
    hash character varying(64) NOT NULL,
    scopes jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    organization_id bigint NOT NULL,
    team_id bigint,
    user_id bigint NOT NULL,
    rule_id bigint
);
ALTER TABLE public.tenancy_token ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_token_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_trustrule (
    id bigint NOT NULL,
    public_id character varying(32) NOT NULL,
    name character varying(63) NOT NULL,
    issuer character varying(255) NOT NULL,
    audience character varying(255) NOT NULL,
    claims jsonb NOT NULL,
    scopes jsonb NOT NULL,
    expires_in_minutes integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    last_used_at timestamp with time zone,
    account_id bigint NOT NULL,
    organization_id bigint NOT NULL,
    CONSTRAINT tenancy_trustrule_expires_in_minutes_check CHECK ((expires_in_minutes >= 0))
);
ALTER TABLE public.tenancy_trustrule ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_trustrule_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_usageday (
    id bigint NOT NULL,
    day date NOT NULL,
    chip_type character varying(64) NOT NULL,
    labels jsonb NOT NULL,
    starting bigint NOT NULL,
    running bigint NOT NULL,
    stopping bigint NOT NULL,
    guest bigint NOT NULL,
    used bigint NOT NULL,
    measured bigint NOT NULL,
    ended bigint NOT NULL,
    labels_hash character varying(32) NOT NULL,
    organization_id bigint NOT NULL,
    team_id bigint NOT NULL,
    user_id bigint NOT NULL,
    energy bigint DEFAULT 0 NOT NULL,
    metered bigint DEFAULT 0 NOT NULL
);
ALTER TABLE public.tenancy_usageday ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_usageday_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_usageline (
    id bigint NOT NULL,
    day date NOT NULL,
    chip_type character varying(64) NOT NULL,
    labels jsonb NOT NULL,
    starting bigint NOT NULL,
    running bigint NOT NULL,
    stopping bigint NOT NULL,
    guest bigint NOT NULL,
    used bigint NOT NULL,
    measured bigint NOT NULL,
    ended bigint NOT NULL,
    attempt bigint NOT NULL,
    settled boolean NOT NULL,
    organization_id bigint NOT NULL,
    team_id bigint NOT NULL,
    user_id bigint NOT NULL,
    energy bigint DEFAULT 0 NOT NULL,
    metered bigint DEFAULT 0 NOT NULL
);
ALTER TABLE public.tenancy_usageline ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_usageline_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_usedidentity (
    hash character varying(64) NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
CREATE TABLE public.tenancy_user (
    id bigint NOT NULL,
    password character varying(128) NOT NULL,
    last_login timestamp with time zone,
    is_superuser boolean NOT NULL,
    username character varying(150) NOT NULL,
    first_name character varying(150) NOT NULL,
    last_name character varying(150) NOT NULL,
    email character varying(254) NOT NULL,
    is_staff boolean NOT NULL,
    is_active boolean NOT NULL,
    date_joined timestamp with time zone NOT NULL
);
CREATE TABLE public.tenancy_user_groups (
    id bigint NOT NULL,
    user_id bigint NOT NULL,
    group_id integer NOT NULL
);
ALTER TABLE public.tenancy_user_groups ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_user_groups_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE public.tenancy_user ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_user_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_user_user_permissions (
    id bigint NOT NULL,
    user_id bigint NOT NULL,
    permission_id integer NOT NULL
);
ALTER TABLE public.tenancy_user_user_permissions ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_user_user_permissions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tenancy_usercap (
    id bigint NOT NULL,
    chip_type character varying(64) NOT NULL,
    limit_milli bigint NOT NULL,
    cell_id bigint NOT NULL,
    team_id bigint NOT NULL,
    CONSTRAINT user_cap_not_negative CHECK ((limit_milli >= 0))
);
ALTER TABLE public.tenancy_usercap ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.tenancy_usercap_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE ONLY public.tenancy_serviceaccount
    ADD CONSTRAINT account_name_in_organization UNIQUE (organization_id, name);
ALTER TABLE ONLY public.jobs_attempt
    ADD CONSTRAINT attempt_number_in_job UNIQUE (job_id, number);
ALTER TABLE ONLY public.jobs_attempt
    ADD CONSTRAINT attempt_public_id UNIQUE (public_id);
ALTER TABLE ONLY public.auth_group
    ADD CONSTRAINT auth_group_name_key UNIQUE (name);
ALTER TABLE ONLY public.auth_group_permissions
    ADD CONSTRAINT auth_group_permissions_group_id_permission_id_0cd325b0_uniq UNIQUE (group_id, permission_id);
ALTER TABLE ONLY public.auth_group_permissions
    ADD CONSTRAINT auth_group_permissions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.auth_group
    ADD CONSTRAINT auth_group_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.auth_permission
    ADD CONSTRAINT auth_permission_content_type_id_codename_01ab375a_uniq UNIQUE (content_type_id, codename);
ALTER TABLE ONLY public.auth_permission
    ADD CONSTRAINT auth_permission_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.cluster_chip
    ADD CONSTRAINT chip_index_in_node UNIQUE (node_id, index);
ALTER TABLE ONLY public.cluster_cell
    ADD CONSTRAINT cluster_cell_name_key UNIQUE (name);
ALTER TABLE ONLY public.cluster_cell
    ADD CONSTRAINT cluster_cell_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.cluster_chip
    ADD CONSTRAINT cluster_chip_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.cluster_chip
    ADD CONSTRAINT cluster_chip_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.cluster_chiphealth
    ADD CONSTRAINT cluster_chiphealth_pkey PRIMARY KEY (chip_id);
ALTER TABLE ONLY public.cluster_chiptype
    ADD CONSTRAINT cluster_chiptype_name_key UNIQUE (name);
ALTER TABLE ONLY public.cluster_chiptype
    ADD CONSTRAINT cluster_chiptype_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.cluster_enrolmenttoken
    ADD CONSTRAINT cluster_enrolmenttoken_hash_key UNIQUE (hash);
ALTER TABLE ONLY public.cluster_enrolmenttoken
    ADD CONSTRAINT cluster_enrolmenttoken_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.cluster_node
    ADD CONSTRAINT cluster_node_credential_hash_key UNIQUE (credential_hash);
ALTER TABLE ONLY public.cluster_node
    ADD CONSTRAINT cluster_node_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.cluster_node
    ADD CONSTRAINT cluster_node_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.cluster_nodecontact
    ADD CONSTRAINT cluster_nodecontact_pkey PRIMARY KEY (node_id);
ALTER TABLE ONLY public.cluster_nodeevent
    ADD CONSTRAINT cluster_nodeevent_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.cluster_nodehour
    ADD CONSTRAINT cluster_nodehour_pkey PRIMARY KEY (node_id, at);
ALTER TABLE ONLY public.cluster_nodeminute
    ADD CONSTRAINT cluster_nodeminute_pkey PRIMARY KEY (node_id, at);
ALTER TABLE ONLY public.cluster_pool
    ADD CONSTRAINT cluster_pool_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.django_admin_log
    ADD CONSTRAINT django_admin_log_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.django_content_type
    ADD CONSTRAINT django_content_type_app_label_model_76bd3d3b_uniq UNIQUE (app_label, model);
ALTER TABLE ONLY public.django_content_type
    ADD CONSTRAINT django_content_type_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.django_migrations
    ADD CONSTRAINT django_migrations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_jobname
    ADD CONSTRAINT job_name_of_organization UNIQUE (organization_id, name);
ALTER TABLE ONLY public.jobs_allocation
    ADD CONSTRAINT jobs_allocation_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_attempt
    ADD CONSTRAINT jobs_attempt_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_attempthour
    ADD CONSTRAINT jobs_attempthour_pkey PRIMARY KEY (attempt_id, at);
ALTER TABLE ONLY public.jobs_attemptminute
    ADD CONSTRAINT jobs_attemptminute_pkey PRIMARY KEY (attempt_id, at);
ALTER TABLE ONLY public.jobs_attemptprogress
    ADD CONSTRAINT jobs_attemptprogress_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY public.jobs_batch
    ADD CONSTRAINT jobs_batch_pkey PRIMARY KEY (job_id);
ALTER TABLE ONLY public.jobs_dependency
    ADD CONSTRAINT jobs_dependency_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_event
    ADD CONSTRAINT jobs_event_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_guest
    ADD CONSTRAINT jobs_guest_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY public.jobs_idleattempt
    ADD CONSTRAINT jobs_idleattempt_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY public.jobs_job
    ADD CONSTRAINT jobs_job_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_jobname
    ADD CONSTRAINT jobs_jobname_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_jobset
    ADD CONSTRAINT jobs_jobset_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_jobset
    ADD CONSTRAINT jobs_jobset_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.jobs_logpiece
    ADD CONSTRAINT jobs_logpiece_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_notice
    ADD CONSTRAINT jobs_notice_pkey PRIMARY KEY (job_id);
ALTER TABLE ONLY public.jobs_offer
    ADD CONSTRAINT jobs_offer_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY public.jobs_outputfile
    ADD CONSTRAINT jobs_outputfile_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_outputleft
    ADD CONSTRAINT jobs_outputleft_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_outputset
    ADD CONSTRAINT jobs_outputset_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY public.jobs_replica
    ADD CONSTRAINT jobs_replica_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_schedule
    ADD CONSTRAINT jobs_schedule_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.jobs_schedule
    ADD CONSTRAINT jobs_schedule_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.jobs_straggler
    ADD CONSTRAINT jobs_straggler_pkey PRIMARY KEY (attempt_id);
ALTER TABLE ONLY public.jobs_logpiece
    ADD CONSTRAINT log_piece_offset UNIQUE (replica_id, "offset");
ALTER TABLE ONLY public.cluster_node
    ADD CONSTRAINT node_name_in_cell UNIQUE (cell_id, name);
ALTER TABLE ONLY public.notifications_delivery
    ADD CONSTRAINT notifications_delivery_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.notifications_delivery
    ADD CONSTRAINT notifications_delivery_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.notifications_webhook
    ADD CONSTRAINT notifications_webhook_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.notifications_webhook
    ADD CONSTRAINT notifications_webhook_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.jobs_allocation
    ADD CONSTRAINT one_allocation_per_chip UNIQUE (replica_id, chip_id, kind);
ALTER TABLE ONLY public.tenancy_usageline
    ADD CONSTRAINT one_line_per_attempt UNIQUE (attempt, chip_type, day);
ALTER TABLE ONLY public.tenancy_membership
    ADD CONSTRAINT one_membership_per_user UNIQUE (organization_id, user_id);
ALTER TABLE ONLY public.scheduling_pastuse
    ADD CONSTRAINT one_past_use_per_type UNIQUE (cell_id, team_id, chip_type);
ALTER TABLE ONLY public.tenancy_price
    ADD CONSTRAINT one_price_per_day UNIQUE (chip_type, from_day);
ALTER TABLE ONLY public.tenancy_quota
    ADD CONSTRAINT one_quota_per_type UNIQUE (team_id, cell_id, chip_type);
ALTER TABLE ONLY public.scheduling_saving
    ADD CONSTRAINT one_saving_per_day UNIQUE (cell_id, day);
ALTER TABLE ONLY public.jobs_schedule
    ADD CONSTRAINT one_schedule_per_name UNIQUE (team_id, name);
ALTER TABLE ONLY public.tenancy_secret
    ADD CONSTRAINT one_secret_of_a_name UNIQUE (team_id, name);
ALTER TABLE ONLY public.tenancy_usageday
    ADD CONSTRAINT one_sum_per_day UNIQUE (team_id, day, user_id, chip_type, labels_hash);
ALTER TABLE ONLY public.tenancy_teammember
    ADD CONSTRAINT one_team_role_per_user UNIQUE (team_id, user_id);
ALTER TABLE ONLY public.tenancy_teamuse
    ADD CONSTRAINT one_use_per_type UNIQUE (cell_id, team_id, chip_type);
ALTER TABLE ONLY public.tenancy_usercap
    ADD CONSTRAINT one_user_cap_per_type UNIQUE (team_id, cell_id, chip_type);
ALTER TABLE ONLY public.tenancy_identity
    ADD CONSTRAINT one_user_per_identity UNIQUE (issuer, subject);
ALTER TABLE ONLY public.jobs_outputfile
    ADD CONSTRAINT output_number UNIQUE (outputs_id, number);
ALTER TABLE ONLY public.jobs_outputfile
    ADD CONSTRAINT output_path UNIQUE (outputs_id, path);
ALTER TABLE ONLY public.cluster_pool
    ADD CONSTRAINT pool_name_in_cell UNIQUE (cell_id, name);
ALTER TABLE ONLY public.jobs_replica
    ADD CONSTRAINT replica_index_in_attempt UNIQUE (attempt_id, index);
ALTER TABLE ONLY public.scheduling_cellpolicy
    ADD CONSTRAINT scheduling_cellpolicy_pkey PRIMARY KEY (cell_id);
ALTER TABLE ONLY public.scheduling_cycle
    ADD CONSTRAINT scheduling_cycle_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.scheduling_forecast
    ADD CONSTRAINT scheduling_forecast_pkey PRIMARY KEY (job_id);
ALTER TABLE ONLY public.scheduling_mix
    ADD CONSTRAINT scheduling_mix_pkey PRIMARY KEY (cell_id);
ALTER TABLE ONLY public.scheduling_pastuse
    ADD CONSTRAINT scheduling_pastuse_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.scheduling_promise
    ADD CONSTRAINT scheduling_promise_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.scheduling_quarantine
    ADD CONSTRAINT scheduling_quarantine_pkey PRIMARY KEY (job_id);
ALTER TABLE ONLY public.scheduling_recording
    ADD CONSTRAINT scheduling_recording_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.scheduling_removal
    ADD CONSTRAINT scheduling_removal_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.scheduling_reservation
    ADD CONSTRAINT scheduling_reservation_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.scheduling_saving
    ADD CONSTRAINT scheduling_saving_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.scheduling_verdict
    ADD CONSTRAINT scheduling_verdict_pkey PRIMARY KEY (job_id);
ALTER TABLE ONLY public.tenancy_team
    ADD CONSTRAINT team_name_in_organization UNIQUE (organization_id, name);
ALTER TABLE ONLY public.tenancy_announcement
    ADD CONSTRAINT tenancy_announcement_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_announcement
    ADD CONSTRAINT tenancy_announcement_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.tenancy_auditentry
    ADD CONSTRAINT tenancy_auditentry_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_browsersession
    ADD CONSTRAINT tenancy_browsersession_pkey PRIMARY KEY (session_key);
ALTER TABLE ONLY public.tenancy_browsersession
    ADD CONSTRAINT tenancy_browsersession_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.tenancy_budget
    ADD CONSTRAINT tenancy_budget_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_budget
    ADD CONSTRAINT tenancy_budget_team_id_key UNIQUE (team_id);
ALTER TABLE ONLY public.tenancy_identity
    ADD CONSTRAINT tenancy_identity_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_jobpolicy
    ADD CONSTRAINT tenancy_jobpolicy_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_jobpolicy
    ADD CONSTRAINT tenancy_jobpolicy_team_id_key UNIQUE (team_id);
ALTER TABLE ONLY public.tenancy_membership
    ADD CONSTRAINT tenancy_membership_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_organization
    ADD CONSTRAINT tenancy_organization_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_organization
    ADD CONSTRAINT tenancy_organization_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.tenancy_organization
    ADD CONSTRAINT tenancy_organization_slug_key UNIQUE (slug);
ALTER TABLE ONLY public.tenancy_price
    ADD CONSTRAINT tenancy_price_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_quota
    ADD CONSTRAINT tenancy_quota_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_quotarequest
    ADD CONSTRAINT tenancy_quotarequest_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_quotarequest
    ADD CONSTRAINT tenancy_quotarequest_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.tenancy_recoverycode
    ADD CONSTRAINT tenancy_recoverycode_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_secondfactor
    ADD CONSTRAINT tenancy_secondfactor_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_secondfactor
    ADD CONSTRAINT tenancy_secondfactor_user_id_key UNIQUE (user_id);
ALTER TABLE ONLY public.tenancy_secret
    ADD CONSTRAINT tenancy_secret_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_secret
    ADD CONSTRAINT tenancy_secret_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.tenancy_serviceaccount
    ADD CONSTRAINT tenancy_serviceaccount_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_serviceaccount
    ADD CONSTRAINT tenancy_serviceaccount_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.tenancy_serviceaccount
    ADD CONSTRAINT tenancy_serviceaccount_user_id_key UNIQUE (user_id);
ALTER TABLE ONLY public.tenancy_signinrequest
    ADD CONSTRAINT tenancy_signinrequest_code_key UNIQUE (code);
ALTER TABLE ONLY public.tenancy_signinrequest
    ADD CONSTRAINT tenancy_signinrequest_hash_key UNIQUE (hash);
ALTER TABLE ONLY public.tenancy_signinrequest
    ADD CONSTRAINT tenancy_signinrequest_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_team
    ADD CONSTRAINT tenancy_team_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_team
    ADD CONSTRAINT tenancy_team_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.tenancy_teammember
    ADD CONSTRAINT tenancy_teammember_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_teamuse
    ADD CONSTRAINT tenancy_teamuse_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_token
    ADD CONSTRAINT tenancy_token_hash_key UNIQUE (hash);
ALTER TABLE ONLY public.tenancy_token
    ADD CONSTRAINT tenancy_token_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_token
    ADD CONSTRAINT tenancy_token_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.tenancy_trustrule
    ADD CONSTRAINT tenancy_trustrule_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_trustrule
    ADD CONSTRAINT tenancy_trustrule_public_id_key UNIQUE (public_id);
ALTER TABLE ONLY public.tenancy_usageday
    ADD CONSTRAINT tenancy_usageday_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_usageline
    ADD CONSTRAINT tenancy_usageline_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_usedidentity
    ADD CONSTRAINT tenancy_usedidentity_pkey PRIMARY KEY (hash);
ALTER TABLE ONLY public.tenancy_user_groups
    ADD CONSTRAINT tenancy_user_groups_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_user_groups
    ADD CONSTRAINT tenancy_user_groups_user_id_group_id_97039fdd_uniq UNIQUE (user_id, group_id);
ALTER TABLE ONLY public.tenancy_user
    ADD CONSTRAINT tenancy_user_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_user_user_permissions
    ADD CONSTRAINT tenancy_user_user_permis_user_id_permission_id_b2633d4a_uniq UNIQUE (user_id, permission_id);
ALTER TABLE ONLY public.tenancy_user_user_permissions
    ADD CONSTRAINT tenancy_user_user_permissions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tenancy_user
    ADD CONSTRAINT tenancy_user_username_key UNIQUE (username);
ALTER TABLE ONLY public.tenancy_usercap
    ADD CONSTRAINT tenancy_usercap_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.notifications_webhook
    ADD CONSTRAINT webhook_name_in_organization UNIQUE (organization_id, name);
CREATE INDEX allocation_live_on_chip ON public.jobs_allocation USING btree (chip_id) WHERE active;
CREATE INDEX attempt_changed ON public.jobs_attempt USING btree (cell_id, changed);
CREATE INDEX audit_by_organization ON public.tenancy_auditentry USING btree (organization_id, id DESC);
CREATE INDEX auth_group_name_a6ea08ec_like ON public.auth_group USING btree (name varchar_pattern_ops);
CREATE INDEX auth_group_permissions_group_id_b120cbf9 ON public.auth_group_permissions USING btree (group_id);
CREATE INDEX auth_group_permissions_permission_id_84c5c92e ON public.auth_group_permissions USING btree (permission_id);
CREATE INDEX auth_permission_content_type_id_2f476e4b ON public.auth_permission USING btree (content_type_id);
CREATE INDEX chip_changed ON public.cluster_chip USING btree (cell_id, changed);
CREATE INDEX cluster_cell_name_c36dd675_like ON public.cluster_cell USING btree (name varchar_pattern_ops);
CREATE INDEX cluster_chip_cell_id_dad84149 ON public.cluster_chip USING btree (cell_id);
CREATE INDEX cluster_chip_node_id_14965aeb ON public.cluster_chip USING btree (node_id);
CREATE INDEX cluster_chip_parent_id_e0b79007 ON public.cluster_chip USING btree (parent_id);
CREATE INDEX cluster_chip_public_id_bee44fbb_like ON public.cluster_chip USING btree (public_id varchar_pattern_ops);
CREATE INDEX cluster_chiptype_name_26893ee8_like ON public.cluster_chiptype USING btree (name varchar_pattern_ops);
CREATE INDEX cluster_enrolmenttoken_hash_178412c0_like ON public.cluster_enrolmenttoken USING btree (hash varchar_pattern_ops);
CREATE INDEX cluster_enrolmenttoken_pool_id_7ab74ceb ON public.cluster_enrolmenttoken USING btree (pool_id);
CREATE INDEX cluster_node_cell_id_e6cc1ed7 ON public.cluster_node USING btree (cell_id);
CREATE INDEX cluster_node_credential_hash_08b2ccff_like ON public.cluster_node USING btree (credential_hash varchar_pattern_ops);
CREATE INDEX cluster_node_pool_id_d03ffd0c ON public.cluster_node USING btree (pool_id);
CREATE INDEX cluster_node_public_id_c8f1212a_like ON public.cluster_node USING btree (public_id varchar_pattern_ops);
CREATE INDEX cluster_pool_cell_id_aa21effb ON public.cluster_pool USING btree (cell_id);
CREATE INDEX cluster_pool_name_6b0cb5eb ON public.cluster_pool USING btree (name);
CREATE INDEX cluster_pool_name_6b0cb5eb_like ON public.cluster_pool USING btree (name varchar_pattern_ops);
CREATE INDEX cycle_by_cell ON public.scheduling_cycle USING btree (cell_id, id DESC);
CREATE INDEX delivery_by_age ON public.notifications_delivery USING btree (at);
CREATE INDEX delivery_due_to_hook ON public.notifications_delivery USING btree (hook_id, next_at) WHERE ((hook_id IS NOT NULL) AND ((state)::text = 'pending'::text));
CREATE INDEX delivery_due_to_user ON public.notifications_delivery USING btree (user_id, next_at) WHERE (((state)::text = 'pending'::text) AND (user_id IS NOT NULL));
CREATE INDEX delivery_of_hook ON public.notifications_delivery USING btree (hook_id, id DESC) WHERE (hook_id IS NOT NULL);
CREATE INDEX delivery_of_user ON public.notifications_delivery USING btree (user_id, last_at DESC) WHERE (user_id IS NOT NULL);
CREATE INDEX dependency_of_job ON public.jobs_dependency USING btree (job_id);
CREATE INDEX dependency_on_job ON public.jobs_dependency USING btree (on_job_id) WHERE (on_job_id IS NOT NULL);
CREATE INDEX dependency_on_set ON public.jobs_dependency USING btree (on_set_id) WHERE (on_set_id IS NOT NULL);
CREATE INDEX django_admin_log_content_type_id_c4bce8eb ON public.django_admin_log USING btree (content_type_id);
CREATE INDEX django_admin_log_user_id_c564eba6 ON public.django_admin_log USING btree (user_id);
CREATE INDEX event_by_job ON public.jobs_event USING btree (job_id, id);
CREATE INDEX job_by_deadline ON public.jobs_job USING btree (deadline) WHERE ((deadline IS NOT NULL) AND ((state)::text = ANY (ARRAY[('held'::character varying)::text, ('queued'::character varying)::text, ('suspended'::character varying)::text, ('active'::character varying)::text])));
CREATE INDEX job_by_end ON public.jobs_job USING btree (organization_id, ended_at, id);
CREATE INDEX job_by_name ON public.jobs_job USING btree (organization_id, name, id);
CREATE INDEX job_by_organization ON public.jobs_job USING btree (organization_id, id);
CREATE INDEX job_by_priority ON public.jobs_job USING btree (organization_id, priority, id);
CREATE INDEX job_by_schedule ON public.jobs_job USING btree (schedule_id, id DESC) WHERE (schedule_id IS NOT NULL);
CREATE INDEX job_by_start ON public.jobs_job USING btree (organization_id, started_at, id);
CREATE INDEX job_by_status ON public.jobs_job USING btree (organization_id, status, id);
CREATE INDEX job_by_team ON public.jobs_job USING btree (team_id, id);
CREATE INDEX job_by_user ON public.jobs_job USING btree (user_id, id);
CREATE INDEX job_changed ON public.jobs_job USING btree (cell_id, changed);
CREATE INDEX job_held_by_dependency ON public.jobs_job USING btree (id) WHERE (((reason_code)::text = ANY (ARRAY[('dependency'::character varying)::text, ('dependency_never'::character varying)::text])) AND ((state)::text = 'held'::text));
CREATE INDEX job_held_until ON public.jobs_job USING btree (start_after) WHERE ((start_after IS NOT NULL) AND ((state)::text = 'held'::text));
CREATE INDEX job_labels ON public.jobs_job USING gin (labels) WHERE (NOT (labels = '{}'::jsonb));
CREATE INDEX job_name_parts ON public.jobs_jobname USING gin (upper((name)::text) public.gin_trgm_ops);
CREATE INDEX job_of_schedule ON public.jobs_job USING btree (schedule_id, state) WHERE (schedule_id IS NOT NULL);
CREATE UNIQUE INDEX job_public_id ON public.jobs_job USING btree (public_id varchar_pattern_ops);
CREATE INDEX job_queued ON public.jobs_job USING btree (cell_id) WHERE ((state)::text = 'queued'::text);
CREATE INDEX job_state_in_set ON public.jobs_job USING btree (set_id, state) WHERE (set_id IS NOT NULL);
CREATE INDEX jobs_allocation_attempt_id_1dadd5fe ON public.jobs_allocation USING btree (attempt_id);
CREATE INDEX jobs_guest_cell_id_5fb5bab6 ON public.jobs_guest USING btree (cell_id);
CREATE INDEX jobs_idleattempt_cell_id_d54219bd ON public.jobs_idleattempt USING btree (cell_id);
CREATE INDEX jobs_jobset_organization_id_ab3c6279 ON public.jobs_jobset USING btree (organization_id);
CREATE INDEX jobs_jobset_public_id_0eba5849_like ON public.jobs_jobset USING btree (public_id varchar_pattern_ops);
CREATE INDEX jobs_jobset_team_id_38b2e3be ON public.jobs_jobset USING btree (team_id);
CREATE INDEX jobs_offer_cell_id_2584e0b1 ON public.jobs_offer USING btree (cell_id);
CREATE INDEX jobs_outputset_organization_id_6fa2cf15 ON public.jobs_outputset USING btree (organization_id);
CREATE INDEX jobs_schedule_organization_id_d0496df6 ON public.jobs_schedule USING btree (organization_id);
CREATE INDEX jobs_schedule_public_id_11f8a5b1_like ON public.jobs_schedule USING btree (public_id varchar_pattern_ops);
CREATE INDEX jobs_schedule_user_id_24e60584 ON public.jobs_schedule USING btree (user_id);
CREATE INDEX jobs_straggler_cell_id_a2ea367e ON public.jobs_straggler USING btree (cell_id);
CREATE INDEX node_changed ON public.cluster_node USING btree (cell_id, changed);
CREATE INDEX node_event_by_node ON public.cluster_nodeevent USING btree (node_id, id);
CREATE INDEX notifications_delivery_public_id_9d766de5_like ON public.notifications_delivery USING btree (public_id varchar_pattern_ops);
CREATE INDEX notifications_webhook_public_id_495a455e_like ON public.notifications_webhook USING btree (public_id varchar_pattern_ops);
CREATE INDEX notifications_webhook_team_id_95a039ec ON public.notifications_webhook USING btree (team_id);
CREATE UNIQUE INDEX one_job_per_idempotency_key ON public.jobs_job USING btree (organization_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE UNIQUE INDEX one_job_per_index ON public.jobs_job USING btree (set_id, index) WHERE (set_id IS NOT NULL);
CREATE UNIQUE INDEX one_live_attempt_per_job ON public.jobs_attempt USING btree (job_id) WHERE (NOT ((state)::text = 'ended'::text));
CREATE UNIQUE INDEX one_open_request_for_a_budget ON public.tenancy_quotarequest USING btree (team_id) WHERE (((kind)::text = 'budget'::text) AND ((state)::text = 'open'::text));
CREATE UNIQUE INDEX one_open_request_per_type ON public.tenancy_quotarequest USING btree (team_id, cell_id, chip_type) WHERE ((state)::text = 'open'::text);
CREATE UNIQUE INDEX one_policy_of_an_organization ON public.tenancy_jobpolicy USING btree (organization_id) WHERE (team_id IS NULL);
CREATE INDEX outputs_by_age ON public.jobs_outputset USING btree (at) WHERE (removed_at IS NULL);
CREATE INDEX outputs_to_sweep ON public.jobs_outputset USING btree (removed_at) WHERE (NOT swept);
CREATE INDEX past_use_changed ON public.scheduling_pastuse USING btree (cell_id, changed);
CREATE INDEX pool_changed ON public.cluster_pool USING btree (cell_id, changed);
CREATE INDEX promise_changed ON public.scheduling_promise USING btree (cell_id, changed);
CREATE INDEX quota_changed ON public.tenancy_quota USING btree (cell_id, changed);
CREATE INDEX quota_granted_for_a_time ON public.tenancy_quotarequest USING btree (until) WHERE (((state)::text = 'approved'::text) AND (until IS NOT NULL));
CREATE INDEX recording_by_cell ON public.scheduling_recording USING btree (cell_id, id DESC);
CREATE INDEX removal_changed ON public.scheduling_removal USING btree (changed);
CREATE INDEX replica_live_on_node ON public.jobs_replica USING btree (node_id) WHERE (NOT ((state)::text = 'ended'::text));
CREATE INDEX reservation_changed ON public.scheduling_reservation USING btree (cell_id, changed);
CREATE INDEX schedule_due ON public.jobs_schedule USING btree (next_at) WHERE (NOT paused);
CREATE INDEX scheduling_cycle_cell_id_7aeadb13 ON public.scheduling_cycle USING btree (cell_id);
CREATE INDEX scheduling_forecast_cell_id_18af9459 ON public.scheduling_forecast USING btree (cell_id);
CREATE INDEX scheduling_pastuse_team_id_d981ec44 ON public.scheduling_pastuse USING btree (team_id);
CREATE INDEX team_changed ON public.tenancy_team USING btree (changed);
CREATE INDEX tenancy_announcement_ends_at_a851035f ON public.tenancy_announcement USING btree (ends_at);
CREATE INDEX tenancy_announcement_organization_id_35a273ce ON public.tenancy_announcement USING btree (organization_id);
CREATE INDEX tenancy_announcement_public_id_fee3f54a_like ON public.tenancy_announcement USING btree (public_id varchar_pattern_ops);
CREATE INDEX tenancy_browsersession_expire_date_0099577b ON public.tenancy_browsersession USING btree (expire_date);
CREATE INDEX tenancy_browsersession_public_id_02649ad1_like ON public.tenancy_browsersession USING btree (public_id varchar_pattern_ops);
CREATE INDEX tenancy_browsersession_session_key_b0ceeac8_like ON public.tenancy_browsersession USING btree (session_key varchar_pattern_ops);
CREATE INDEX tenancy_browsersession_user_id_baf56a26 ON public.tenancy_browsersession USING btree (user_id);
CREATE INDEX tenancy_identity_user_id_ebafbbf5 ON public.tenancy_identity USING btree (user_id);
CREATE INDEX tenancy_jobpolicy_organization_id_f4b93e1e ON public.tenancy_jobpolicy USING btree (organization_id);
CREATE INDEX tenancy_membership_organization_id_8f49c887 ON public.tenancy_membership USING btree (organization_id);
CREATE INDEX tenancy_membership_user_id_69c4e8b6 ON public.tenancy_membership USING btree (user_id);
CREATE INDEX tenancy_organization_public_id_c687474a_like ON public.tenancy_organization USING btree (public_id varchar_pattern_ops);
CREATE INDEX tenancy_organization_slug_380107f5_like ON public.tenancy_organization USING btree (slug varchar_pattern_ops);
CREATE INDEX tenancy_quota_cell_id_28d5084d ON public.tenancy_quota USING btree (cell_id);
CREATE INDEX tenancy_quota_team_id_80099d79 ON public.tenancy_quota USING btree (team_id);
CREATE INDEX tenancy_quotarequest_asked_by_id_5ceee991 ON public.tenancy_quotarequest USING btree (asked_by_id);
CREATE INDEX tenancy_quotarequest_cell_id_b72e5e3a ON public.tenancy_quotarequest USING btree (cell_id);
CREATE INDEX tenancy_quotarequest_decided_by_id_bbf67e74 ON public.tenancy_quotarequest USING btree (decided_by_id);
CREATE INDEX tenancy_quotarequest_organization_id_4b2cb037 ON public.tenancy_quotarequest USING btree (organization_id);
CREATE INDEX tenancy_quotarequest_public_id_512bbe96_like ON public.tenancy_quotarequest USING btree (public_id varchar_pattern_ops);
CREATE INDEX tenancy_quotarequest_team_id_09bff4dc ON public.tenancy_quotarequest USING btree (team_id);
CREATE INDEX tenancy_recoverycode_user_id_456a1a00 ON public.tenancy_recoverycode USING btree (user_id);
CREATE INDEX tenancy_secret_organization_id_951ef620 ON public.tenancy_secret USING btree (organization_id);
CREATE INDEX tenancy_secret_public_id_40d376d1_like ON public.tenancy_secret USING btree (public_id varchar_pattern_ops);
CREATE INDEX tenancy_serviceaccount_name_44edf739 ON public.tenancy_serviceaccount USING btree (name);
CREATE INDEX tenancy_serviceaccount_name_44edf739_like ON public.tenancy_serviceaccount USING btree (name varchar_pattern_ops);
CREATE INDEX tenancy_serviceaccount_organization_id_5b8b3785 ON public.tenancy_serviceaccount USING btree (organization_id);
CREATE INDEX tenancy_serviceaccount_public_id_6891afc7_like ON public.tenancy_serviceaccount USING btree (public_id varchar_pattern_ops);
CREATE INDEX tenancy_serviceaccount_team_id_a8fef132 ON public.tenancy_serviceaccount USING btree (team_id);
CREATE INDEX tenancy_signinrequest_code_9468aec8_like ON public.tenancy_signinrequest USING btree (code varchar_pattern_ops);
CREATE INDEX tenancy_signinrequest_expires_at_031cfed8 ON public.tenancy_signinrequest USING btree (expires_at);
CREATE INDEX tenancy_signinrequest_hash_e3ee47a9_like ON public.tenancy_signinrequest USING btree (hash varchar_pattern_ops);
CREATE INDEX tenancy_signinrequest_organization_id_19c5604a ON public.tenancy_signinrequest USING btree (organization_id);
CREATE INDEX tenancy_signinrequest_user_id_6119b237 ON public.tenancy_signinrequest USING btree (user_id);
CREATE INDEX tenancy_team_name_9fd24a86 ON public.tenancy_team USING btree (name);
CREATE INDEX tenancy_team_name_9fd24a86_like ON public.tenancy_team USING btree (name varchar_pattern_ops);
CREATE INDEX tenancy_team_organization_id_8a9e7c7d ON public.tenancy_team USING btree (organization_id);
CREATE INDEX tenancy_team_parent_id_d4aae4ac ON public.tenancy_team USING btree (parent_id);
CREATE INDEX tenancy_team_public_id_0fba7fdf_like ON public.tenancy_team USING btree (public_id varchar_pattern_ops);
CREATE INDEX tenancy_teammember_team_id_3172866a ON public.tenancy_teammember USING btree (team_id);
CREATE INDEX tenancy_teammember_user_id_b243f1cb ON public.tenancy_teammember USING btree (user_id);
CREATE INDEX tenancy_teamuse_cell_id_c1e4b7ac ON public.tenancy_teamuse USING btree (cell_id);
CREATE INDEX tenancy_teamuse_team_id_826c2192 ON public.tenancy_teamuse USING btree (team_id);
CREATE INDEX tenancy_token_hash_e6d74b33_like ON public.tenancy_token USING btree (hash varchar_pattern_ops);
CREATE INDEX tenancy_token_organization_id_1c0e7017 ON public.tenancy_token USING btree (organization_id);
CREATE INDEX tenancy_token_public_id_933d31ff_like ON public.tenancy_token USING btree (public_id varchar_pattern_ops);
CREATE INDEX tenancy_token_rule_id_f1a1ab8c ON public.tenancy_token USING btree (rule_id);
CREATE INDEX tenancy_token_team_id_9a91cb06 ON public.tenancy_token USING btree (team_id);
CREATE INDEX tenancy_token_user_id_a3e39e70 ON public.tenancy_token USING btree (user_id);
CREATE INDEX tenancy_trustrule_account_id_a11def2c ON public.tenancy_trustrule USING btree (account_id);
CREATE INDEX tenancy_trustrule_organization_id_c3c47c28 ON public.tenancy_trustrule USING btree (organization_id);
CREATE INDEX tenancy_trustrule_public_id_ef5cb502_like ON public.tenancy_trustrule USING btree (public_id varchar_pattern_ops);
CREATE INDEX tenancy_usedidentity_expires_at_ef656b31 ON public.tenancy_usedidentity USING btree (expires_at);
CREATE INDEX tenancy_usedidentity_hash_61d59197_like ON public.tenancy_usedidentity USING btree (hash varchar_pattern_ops);
CREATE INDEX tenancy_user_groups_group_id_914c203a ON public.tenancy_user_groups USING btree (group_id);
CREATE INDEX tenancy_user_groups_user_id_ceb8a49a ON public.tenancy_user_groups USING btree (user_id);
CREATE INDEX tenancy_user_user_permissions_permission_id_dc97e8b3 ON public.tenancy_user_user_permissions USING btree (permission_id);
CREATE INDEX tenancy_user_user_permissions_user_id_624e1286 ON public.tenancy_user_user_permissions USING btree (user_id);
CREATE INDEX tenancy_user_username_edd675db_like ON public.tenancy_user USING btree (username varchar_pattern_ops);
CREATE INDEX tenancy_usercap_cell_id_0ae1cb8c ON public.tenancy_usercap USING btree (cell_id);
CREATE INDEX usage_by_day ON public.tenancy_usageline USING btree (day);
CREATE INDEX usage_of_organization ON public.tenancy_usageday USING btree (organization_id, day);
CREATE INDEX usage_unsettled ON public.tenancy_usageline USING btree (id) WHERE (NOT settled);
CREATE STATISTICS public.job_of_team (dependencies) ON organization_id, team_id FROM public.jobs_job;
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON public.tenancy_auditentry FOR EACH ROW EXECUTE FUNCTION public.flexai_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON public.tenancy_auditentry FOR EACH STATEMENT EXECUTE FUNCTION public.flexai_refuse_change();
CREATE TRIGGER event_told AFTER INSERT ON public.jobs_event REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION public.jobs_event_told();
CREATE TRIGGER mark_changed BEFORE UPDATE ON public.cluster_chip FOR EACH ROW WHEN (((NOT new.present) OR ((old.cell_id IS DISTINCT FROM new.cell_id) OR (old.node_id IS DISTINCT FROM new.node_id) OR (old.index IS DISTINCT FROM new.index) OR ((old.type)::text IS DISTINCT FROM (new.type)::text) OR (old.memory_mib IS DISTINCT FROM new.memory_mib) OR (old.present IS DISTINCT FROM new.present) OR (old.healthy IS DISTINCT FROM new.healthy) OR ((old.cordoned_because)::text IS DISTINCT FROM (new.cordoned_because)::text) OR (old.health IS DISTINCT FROM new.health) OR (old.isolation IS DISTINCT FROM new.isolation) OR (old.host_cpu_milli IS DISTINCT FROM new.host_cpu_milli)))) EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_changed BEFORE UPDATE ON public.cluster_node FOR EACH ROW WHEN (((old.cell_id IS DISTINCT FROM new.cell_id) OR (old.pool_id IS DISTINCT FROM new.pool_id) OR ((old.name)::text IS DISTINCT FROM (new.name)::text) OR ((old.state)::text IS DISTINCT FROM (new.state)::text) OR (old.reachable IS DISTINCT FROM new.reachable) OR (old.topology IS DISTINCT FROM new.topology) OR (old.cpu_milli IS DISTINCT FROM new.cpu_milli) OR (old.memory_mib IS DISTINCT FROM new.memory_mib) OR (old.images IS DISTINCT FROM new.images) OR (old.credential_revoked_at IS DISTINCT FROM new.credential_revoked_at))) EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON public.cluster_pool FOR EACH ROW EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON public.jobs_attempt FOR EACH ROW WHEN ((new.changed IS DISTINCT FROM ((pg_current_xact_id())::text)::bigint)) EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON public.jobs_job FOR EACH ROW WHEN ((new.changed IS DISTINCT FROM ((pg_current_xact_id())::text)::bigint)) EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON public.scheduling_mix FOR EACH ROW EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON public.scheduling_pastuse FOR EACH ROW EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON public.scheduling_promise FOR EACH ROW EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON public.scheduling_reservation FOR EACH ROW EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON public.tenancy_quota FOR EACH ROW EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_changed BEFORE INSERT OR UPDATE ON public.tenancy_team FOR EACH ROW EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_made BEFORE INSERT ON public.cluster_chip FOR EACH ROW EXECUTE FUNCTION public.flexai_mark_changed();
CREATE TRIGGER mark_made BEFORE INSERT ON public.cluster_node FOR EACH ROW EXECUTE FUNCTION public.flexai_mark_changed();
CREATE CONSTRAINT TRIGGER named_by_jobs_allocation AFTER DELETE ON public.cluster_chip DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.jobs_is_named('jobs_allocation', 'chip_id');
CREATE CONSTRAINT TRIGGER named_by_jobs_allocation AFTER DELETE ON public.jobs_attempt DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.jobs_is_named('jobs_allocation', 'attempt_id');
CREATE CONSTRAINT TRIGGER named_by_jobs_allocation AFTER DELETE ON public.jobs_replica DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.jobs_is_named('jobs_allocation', 'replica_id');
CREATE CONSTRAINT TRIGGER named_by_jobs_attempt AFTER DELETE ON public.jobs_job DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.jobs_is_named('jobs_attempt', 'job_id');
CREATE CONSTRAINT TRIGGER named_by_jobs_job AFTER DELETE ON public.cluster_cell DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.jobs_is_named('jobs_job', 'cell_id');
CREATE CONSTRAINT TRIGGER named_by_jobs_job AFTER DELETE ON public.jobs_jobset DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.jobs_is_named('jobs_job', 'set_id');
CREATE CONSTRAINT TRIGGER named_by_jobs_job AFTER DELETE ON public.jobs_schedule DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.jobs_is_named('jobs_job', 'schedule_id');
CREATE CONSTRAINT TRIGGER named_by_jobs_job AFTER DELETE ON public.tenancy_team DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.jobs_is_named('jobs_job', 'team_id');
CREATE CONSTRAINT TRIGGER named_by_jobs_job AFTER DELETE ON public.tenancy_user DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.jobs_is_named('jobs_job', 'user_id');
CREATE CONSTRAINT TRIGGER named_by_jobs_replica AFTER DELETE ON public.cluster_node DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.jobs_is_named('jobs_replica', 'node_id');
CREATE CONSTRAINT TRIGGER named_by_jobs_replica AFTER DELETE ON public.jobs_attempt DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.jobs_is_named('jobs_replica', 'attempt_id');
CREATE TRIGGER note_removal AFTER DELETE ON public.cluster_chip FOR EACH ROW EXECUTE FUNCTION public.flexai_note_removal('chip');
CREATE TRIGGER note_removal AFTER DELETE ON public.cluster_node FOR EACH ROW EXECUTE FUNCTION public.flexai_note_removal('node');
CREATE TRIGGER note_removal AFTER DELETE ON public.cluster_pool FOR EACH ROW EXECUTE FUNCTION public.flexai_note_removal('pool');
CREATE TRIGGER note_removal AFTER DELETE ON public.jobs_attempt FOR EACH ROW EXECUTE FUNCTION public.flexai_note_removal('attempt');
CREATE TRIGGER note_removal AFTER DELETE ON public.jobs_job FOR EACH ROW EXECUTE FUNCTION public.flexai_note_removal('job');
CREATE TRIGGER note_removal AFTER DELETE ON public.scheduling_promise FOR EACH ROW EXECUTE FUNCTION public.flexai_note_removal('promise');
CREATE TRIGGER note_removal AFTER DELETE ON public.scheduling_reservation FOR EACH ROW EXECUTE FUNCTION public.flexai_note_removal('reservation');
CREATE TRIGGER note_removal AFTER DELETE ON public.tenancy_quota FOR EACH ROW EXECUTE FUNCTION public.flexai_note_removal('quota');
CREATE TRIGGER note_removal AFTER DELETE ON public.tenancy_team FOR EACH ROW EXECUTE FUNCTION public.flexai_note_removal('team');
CREATE TRIGGER outputs_left AFTER DELETE ON public.jobs_outputset FOR EACH ROW WHEN ((NOT old.swept)) EXECUTE FUNCTION public.jobs_outputs_left();
ALTER TABLE ONLY public.auth_group_permissions
    ADD CONSTRAINT auth_group_permissio_permission_id_84c5c92e_fk_auth_perm FOREIGN KEY (permission_id) REFERENCES public.auth_permission(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.auth_group_permissions
    ADD CONSTRAINT auth_group_permissions_group_id_b120cbf9_fk_auth_group_id FOREIGN KEY (group_id) REFERENCES public.auth_group(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.auth_permission
    ADD CONSTRAINT auth_permission_content_type_id_2f476e4b_fk_django_co FOREIGN KEY (content_type_id) REFERENCES public.django_content_type(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.cluster_chip
    ADD CONSTRAINT cluster_chip_cell_id_dad84149_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.cluster_chip
    ADD CONSTRAINT cluster_chip_node_id_14965aeb_fk_cluster_node_id FOREIGN KEY (node_id) REFERENCES public.cluster_node(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.cluster_chip
    ADD CONSTRAINT cluster_chip_parent_id_e0b79007_fk_cluster_chip_id FOREIGN KEY (parent_id) REFERENCES public.cluster_chip(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.cluster_chiphealth
    ADD CONSTRAINT cluster_chiphealth_chip_id_fedf3325_fk_cluster_chip_id FOREIGN KEY (chip_id) REFERENCES public.cluster_chip(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.cluster_enrolmenttoken
    ADD CONSTRAINT cluster_enrolmenttoken_pool_id_7ab74ceb_fk_cluster_pool_id FOREIGN KEY (pool_id) REFERENCES public.cluster_pool(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.cluster_node
    ADD CONSTRAINT cluster_node_cell_id_e6cc1ed7_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.cluster_node
    ADD CONSTRAINT cluster_node_pool_id_d03ffd0c_fk_cluster_pool_id FOREIGN KEY (pool_id) REFERENCES public.cluster_pool(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.cluster_nodecontact
    ADD CONSTRAINT cluster_nodecontact_node_id_90ce3cc1_fk_cluster_node_id FOREIGN KEY (node_id) REFERENCES public.cluster_node(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.cluster_nodeevent
    ADD CONSTRAINT cluster_nodeevent_node_id_88bbf8a2_fk_cluster_node_id FOREIGN KEY (node_id) REFERENCES public.cluster_node(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.cluster_pool
    ADD CONSTRAINT cluster_pool_cell_id_aa21effb_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.django_admin_log
    ADD CONSTRAINT django_admin_log_content_type_id_c4bce8eb_fk_django_co FOREIGN KEY (content_type_id) REFERENCES public.django_content_type(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.django_admin_log
    ADD CONSTRAINT django_admin_log_user_id_c564eba6_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_attemptprogress
    ADD CONSTRAINT jobs_attemptprogress_attempt_id_e7a6a1eb_fk_jobs_attempt_id FOREIGN KEY (attempt_id) REFERENCES public.jobs_attempt(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_batch
    ADD CONSTRAINT jobs_batch_job_id_e07f34d3_fk_jobs_job_id FOREIGN KEY (job_id) REFERENCES public.jobs_job(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_dependency
    ADD CONSTRAINT jobs_dependency_job_id_482469db_fk_jobs_job_id FOREIGN KEY (job_id) REFERENCES public.jobs_job(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_dependency
    ADD CONSTRAINT jobs_dependency_on_job_id_2e6431ec_fk_jobs_job_id FOREIGN KEY (on_job_id) REFERENCES public.jobs_job(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_dependency
    ADD CONSTRAINT jobs_dependency_on_set_id_eca81088_fk_jobs_jobset_id FOREIGN KEY (on_set_id) REFERENCES public.jobs_jobset(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_guest
    ADD CONSTRAINT jobs_guest_attempt_id_bd363141_fk_jobs_attempt_id FOREIGN KEY (attempt_id) REFERENCES public.jobs_attempt(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_guest
    ADD CONSTRAINT jobs_guest_cell_id_5fb5bab6_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_idleattempt
    ADD CONSTRAINT jobs_idleattempt_attempt_id_b89f9dbc_fk_jobs_attempt_id FOREIGN KEY (attempt_id) REFERENCES public.jobs_attempt(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_idleattempt
    ADD CONSTRAINT jobs_idleattempt_cell_id_d54219bd_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_jobset
    ADD CONSTRAINT jobs_jobset_organization_id_ab3c6279_fk_tenancy_organization_id FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_jobset
    ADD CONSTRAINT jobs_jobset_team_id_38b2e3be_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_logpiece
    ADD CONSTRAINT jobs_logpiece_replica_id_36bd1bf2_fk_jobs_replica_id FOREIGN KEY (replica_id) REFERENCES public.jobs_replica(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_notice
    ADD CONSTRAINT jobs_notice_job_id_ebc230d6_fk_jobs_job_id FOREIGN KEY (job_id) REFERENCES public.jobs_job(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_offer
    ADD CONSTRAINT jobs_offer_attempt_id_fc13865d_fk_jobs_attempt_id FOREIGN KEY (attempt_id) REFERENCES public.jobs_attempt(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_offer
    ADD CONSTRAINT jobs_offer_cell_id_2584e0b1_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_outputfile
    ADD CONSTRAINT jobs_outputfile_outputs_id_9f6d2eeb_fk_jobs_outp FOREIGN KEY (outputs_id) REFERENCES public.jobs_outputset(attempt_id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_outputset
    ADD CONSTRAINT jobs_outputset_attempt_id_0fd4e922_fk_jobs_attempt_id FOREIGN KEY (attempt_id) REFERENCES public.jobs_attempt(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_outputset
    ADD CONSTRAINT jobs_outputset_organization_id_6fa2cf15_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_schedule
    ADD CONSTRAINT jobs_schedule_last_job_id_ea2e5cec_fk_jobs_job_id FOREIGN KEY (last_job_id) REFERENCES public.jobs_job(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_schedule
    ADD CONSTRAINT jobs_schedule_organization_id_d0496df6_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_schedule
    ADD CONSTRAINT jobs_schedule_team_id_94d8e183_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_schedule
    ADD CONSTRAINT jobs_schedule_user_id_24e60584_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_straggler
    ADD CONSTRAINT jobs_straggler_attempt_id_9b03a861_fk_jobs_attempt_id FOREIGN KEY (attempt_id) REFERENCES public.jobs_attempt(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.jobs_straggler
    ADD CONSTRAINT jobs_straggler_cell_id_a2ea367e_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.notifications_webhook
    ADD CONSTRAINT notifications_webhoo_organization_id_ecb6aa2b_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.notifications_webhook
    ADD CONSTRAINT notifications_webhook_team_id_95a039ec_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_cellpolicy
    ADD CONSTRAINT scheduling_cellpolicy_cell_id_846d3759_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_cycle
    ADD CONSTRAINT scheduling_cycle_cell_id_7aeadb13_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_forecast
    ADD CONSTRAINT scheduling_forecast_cell_id_18af9459_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_forecast
    ADD CONSTRAINT scheduling_forecast_job_id_af5fc321_fk_jobs_job_id FOREIGN KEY (job_id) REFERENCES public.jobs_job(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_mix
    ADD CONSTRAINT scheduling_mix_cell_id_7e3f0bf3_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_pastuse
    ADD CONSTRAINT scheduling_pastuse_cell_id_07ef01d4_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_pastuse
    ADD CONSTRAINT scheduling_pastuse_team_id_d981ec44_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_promise
    ADD CONSTRAINT scheduling_promise_cell_id_34058698_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_promise
    ADD CONSTRAINT scheduling_promise_id_e21a9c06_fk_jobs_job_id FOREIGN KEY (id) REFERENCES public.jobs_job(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_quarantine
    ADD CONSTRAINT scheduling_quarantine_job_id_b6480819_fk_jobs_job_id FOREIGN KEY (job_id) REFERENCES public.jobs_job(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_recording
    ADD CONSTRAINT scheduling_recording_cell_id_d8e5ad45_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_reservation
    ADD CONSTRAINT scheduling_reservation_cell_id_667c687f_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_reservation
    ADD CONSTRAINT scheduling_reservation_id_ef141e41_fk_jobs_job_id FOREIGN KEY (id) REFERENCES public.jobs_job(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_saving
    ADD CONSTRAINT scheduling_saving_cell_id_6072703f_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.scheduling_verdict
    ADD CONSTRAINT scheduling_verdict_job_id_933ab387_fk_jobs_job_id FOREIGN KEY (job_id) REFERENCES public.jobs_job(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_announcement
    ADD CONSTRAINT tenancy_announcement_organization_id_35a273ce_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_browsersession
    ADD CONSTRAINT tenancy_browsersession_user_id_baf56a26_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_budget
    ADD CONSTRAINT tenancy_budget_team_id_de8633cb_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_identity
    ADD CONSTRAINT tenancy_identity_user_id_ebafbbf5_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_jobpolicy
    ADD CONSTRAINT tenancy_jobpolicy_organization_id_f4b93e1e_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_jobpolicy
    ADD CONSTRAINT tenancy_jobpolicy_team_id_723b5acd_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_membership
    ADD CONSTRAINT tenancy_membership_organization_id_8f49c887_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_membership
    ADD CONSTRAINT tenancy_membership_user_id_69c4e8b6_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_quota
    ADD CONSTRAINT tenancy_quota_cell_id_28d5084d_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_quota
    ADD CONSTRAINT tenancy_quota_team_id_80099d79_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_quotarequest
    ADD CONSTRAINT tenancy_quotarequest_asked_by_id_5ceee991_fk_tenancy_user_id FOREIGN KEY (asked_by_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_quotarequest
    ADD CONSTRAINT tenancy_quotarequest_cell_id_b72e5e3a_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_quotarequest
    ADD CONSTRAINT tenancy_quotarequest_decided_by_id_bbf67e74_fk_tenancy_user_id FOREIGN KEY (decided_by_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_quotarequest
    ADD CONSTRAINT tenancy_quotarequest_organization_id_4b2cb037_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_quotarequest
    ADD CONSTRAINT tenancy_quotarequest_team_id_09bff4dc_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_recoverycode
    ADD CONSTRAINT tenancy_recoverycode_user_id_456a1a00_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_secondfactor
    ADD CONSTRAINT tenancy_secondfactor_user_id_2f994360_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_secret
    ADD CONSTRAINT tenancy_secret_organization_id_951ef620_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_secret
    ADD CONSTRAINT tenancy_secret_team_id_1d7b7c12_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_serviceaccount
    ADD CONSTRAINT tenancy_serviceaccou_organization_id_5b8b3785_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_serviceaccount
    ADD CONSTRAINT tenancy_serviceaccount_team_id_a8fef132_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_serviceaccount
    ADD CONSTRAINT tenancy_serviceaccount_user_id_0397ae36_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_signinrequest
    ADD CONSTRAINT tenancy_signinreques_organization_id_19c5604a_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_signinrequest
    ADD CONSTRAINT tenancy_signinrequest_user_id_6119b237_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_team
    ADD CONSTRAINT tenancy_team_organization_id_8a9e7c7d_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_team
    ADD CONSTRAINT tenancy_team_parent_id_d4aae4ac_fk_tenancy_team_id FOREIGN KEY (parent_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_teammember
    ADD CONSTRAINT tenancy_teammember_team_id_3172866a_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_teammember
    ADD CONSTRAINT tenancy_teammember_user_id_b243f1cb_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_teamuse
    ADD CONSTRAINT tenancy_teamuse_cell_id_c1e4b7ac_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_teamuse
    ADD CONSTRAINT tenancy_teamuse_team_id_826c2192_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_token
    ADD CONSTRAINT tenancy_token_organization_id_1c0e7017_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_token
    ADD CONSTRAINT tenancy_token_rule_id_f1a1ab8c_fk_tenancy_trustrule_id FOREIGN KEY (rule_id) REFERENCES public.tenancy_trustrule(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_token
    ADD CONSTRAINT tenancy_token_team_id_9a91cb06_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_token
    ADD CONSTRAINT tenancy_token_user_id_a3e39e70_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_trustrule
    ADD CONSTRAINT tenancy_trustrule_account_id_a11def2c_fk_tenancy_s FOREIGN KEY (account_id) REFERENCES public.tenancy_serviceaccount(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_trustrule
    ADD CONSTRAINT tenancy_trustrule_organization_id_c3c47c28_fk_tenancy_o FOREIGN KEY (organization_id) REFERENCES public.tenancy_organization(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_usageday
    ADD CONSTRAINT tenancy_usageday_team_id_e92e40c6_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_usageday
    ADD CONSTRAINT tenancy_usageday_user_id_17588481_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_usageline
    ADD CONSTRAINT tenancy_usageline_team_id_cc18da4d_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_usageline
    ADD CONSTRAINT tenancy_usageline_user_id_fe15a68d_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_user_groups
    ADD CONSTRAINT tenancy_user_groups_group_id_914c203a_fk_auth_group_id FOREIGN KEY (group_id) REFERENCES public.auth_group(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_user_groups
    ADD CONSTRAINT tenancy_user_groups_user_id_ceb8a49a_fk_tenancy_user_id FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_user_user_permissions
    ADD CONSTRAINT tenancy_user_user_pe_permission_id_dc97e8b3_fk_auth_perm FOREIGN KEY (permission_id) REFERENCES public.auth_permission(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_user_user_permissions
    ADD CONSTRAINT tenancy_user_user_pe_user_id_624e1286_fk_tenancy_u FOREIGN KEY (user_id) REFERENCES public.tenancy_user(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_usercap
    ADD CONSTRAINT tenancy_usercap_cell_id_0ae1cb8c_fk_cluster_cell_id FOREIGN KEY (cell_id) REFERENCES public.cluster_cell(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY public.tenancy_usercap
    ADD CONSTRAINT tenancy_usercap_team_id_553e8967_fk_tenancy_team_id FOREIGN KEY (team_id) REFERENCES public.tenancy_team(id) DEFERRABLE INITIALLY DEFERRED;
INSERT INTO public.cluster_cell (id, name, created_at) VALUES (1, 'default', now());
INSERT INTO public.cluster_pool (id, name, slice_step_milli, changed, cell_id) VALUES (1, 'default', 100, 0, 1);
INSERT INTO public.django_migrations (app, name, applied) VALUES ('admin', '0001_initial', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('admin', '0002_logentry_remove_auto_add', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('admin', '0003_logentry_add_action_flag_choices', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0001_initial', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0002_alter_permission_name_max_length', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0003_alter_user_email_max_length', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0004_alter_user_username_opts', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0005_alter_user_last_login_null', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0006_require_contenttypes_0002', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0007_alter_validators_add_error_messages', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0008_alter_user_username_max_length', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0009_alter_user_last_name_max_length', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0010_alter_group_name_max_length', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0011_update_proxy_permissions', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('auth', '0012_alter_user_first_name_max_length', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('cluster', '0001_initial', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('cluster', '0002_feed_and_default_cell', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('cluster', '0003_node_events', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('cluster', '0004_partitioned_roll_ups', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('cluster', '0005_chip_health', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('cluster', '0006_cordoned_chips', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('cluster', '0007_images', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('cluster', '0008_counters_unmarked', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('contenttypes', '0001_initial', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('contenttypes', '0002_remove_content_type_name', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0001_initial', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0002_feed', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0003_events_of_jobs_alone', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0004_service', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0005_idle', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0006_progress', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0007_use_of_attempts', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0008_dependencies', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0009_moved', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0010_lending', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0011_schedules', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0012_deadline', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0013_outputs', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0014_outputs_left', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0015_unchecked_keys', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0016_energy', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0017_notices', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0018_lists', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0019_images', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0020_keys_from_one_side', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0021_indexes_of_some', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0022_cells_of_jobs', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0023_keys_of_jobs', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0024_marks_where_missing', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0025_stragglers', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0026_job_names', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('jobs', '0027_batches', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('notifications', '0001_initial', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('scheduling', '0001_initial', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('scheduling', '0002_removals', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('scheduling', '0003_promises_and_reservations', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('scheduling', '0004_recordings', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('scheduling', '0005_policies', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('scheduling', '0006_past_use', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('scheduling', '0007_forecasts', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('scheduling', '0008_savings', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('scheduling', '0009_mix', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('scheduling', '0010_cycle_reasons', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0001_initial', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0002_feed_and_audit', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0003_accrued', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0004_service_accounts', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0005_usage', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0006_budgets', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0007_job_policies', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0008_trust_rules', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0009_identities', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0010_second_factor', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0011_quota_requests', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0012_sign_ins_and_announcements', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0013_energy', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0014_audit_address', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0015_audit_log_named', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0016_budget_requests', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0017_browser_sessions', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0018_one_index_of_the_audit', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0019_secrets', now());
INSERT INTO public.django_migrations (app, name, applied) VALUES ('tenancy', '0020_audit_refuses_truncate', now());
SELECT pg_catalog.setval('public.cluster_cell_id_seq', 1, true);
SELECT pg_catalog.setval('public.cluster_pool_id_seq', 1, true);
-- Digest of the files of these migrations: c403d6763898d47092dbfba0d30deeacba237df5e737969466d6a4488f27f40f
