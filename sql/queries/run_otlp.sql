-- A run with its children as OTLP JSON. Ids of spans are those of pg_workflow_core::trace::span_id. A run that was started in
-- no trace makes one of its own, named by the topmost run. $1 run_id, $2 present: the end of what is open, $3 version
WITH RECURSIVE above AS (
    SELECT r.run_id, r.parent_run_id, r.parent_n, r.trace, 0 AS distance FROM wf_internal.runs r WHERE r.run_id = $1
    UNION ALL
    SELECT p.run_id, p.parent_run_id, p.parent_n, p.trace, a.distance + 1
    FROM above a JOIN wf_internal.runs p ON p.run_id = a.parent_run_id
    WHERE a.trace IS NULL AND a.parent_n > 0
), trace AS (
    SELECT coalesce(split_part(a.trace, '-', 2), replace(a.run_id::text, '-', '')) AS id
    FROM above a ORDER BY a.distance DESC LIMIT 1
), tree AS (
    SELECT r.run_id, 0 AS depth FROM wf_internal.runs r WHERE r.run_id = $1
    UNION ALL
    SELECT c.run_id, t.depth + 1
    FROM tree t JOIN wf_internal.runs c ON c.parent_run_id = t.run_id
    WHERE t.depth < 100
), spans AS (
    SELECT r.run_id, 0 AS n, 0 AS item, d.workflow AS name,
           CASE WHEN r.trace IS NOT NULL THEN split_part(r.trace, '-', 3) END AS given,
           CASE WHEN r.parent_n > 0 THEN r.parent_run_id END AS parent_run_id, r.parent_n, coalesce(r.parent_item, 0) AS parent_item,
           coalesce(r.started_at, r.created_at) AS started_at, r.finished_at, r.status, r.error->>'message' AS error,
           pg_catalog.jsonb_build_object('workflow.id', r.id, 'workflow.run_id', r.run_id::text, 'workflow.name', d.workflow,
                                         'workflow.kind', 'run', 'workflow.status', r.status, 'workflow.owner', r.owner::text) AS attributes
    FROM tree t
    JOIN wf_internal.runs r USING (run_id)
    JOIN wf_internal.definitions d USING (def_id)
    UNION ALL
    SELECT s.run_id, s.n, 0, s.name, NULL, s.run_id, 0, 0, s.started_at, s.finished_at, s.status, s.error->>'message',
           pg_catalog.jsonb_build_object('workflow.kind', s.kind, 'workflow.n', s.n, 'workflow.status', s.status,
                                         'workflow.attempts', s.attempt, 'workflow.sqlstate', s.error->>'sqlstate')
    FROM tree t
    JOIN wf_internal.steps s USING (run_id)
    WHERE s.kind IN ('step', 'sleep', 'signal', 'child', 'map', 'task', 'await', 'rollback', 'compensation') AND s.status <> 'registered'
    UNION ALL
    SELECT b.run_id, b.n, b.item, s.name, NULL, b.run_id, b.n, 0, b.started_at, b.finished_at, b.status, b.error->>'message',
           pg_catalog.jsonb_build_object('workflow.kind', 'branch', 'workflow.n', b.n, 'workflow.item', b.item, 'workflow.status', b.status,
                                         'workflow.attempts', b.attempt, 'workflow.sqlstate', b.error->>'sqlstate')
    FROM tree t
    JOIN wf_internal.branches b USING (run_id)
    JOIN wf_internal.steps s ON s.run_id = b.run_id AND s.n = b.n
    WHERE b.started_at IS NOT NULL
), numbered AS (
    SELECT s.*,
           pg_catalog.lpad(pg_catalog.to_hex(('x' || pg_catalog.right(replace(s.run_id::text, '-', ''), 16))::bit(64)::bigint
                                             # ((s.n::bigint << 32) | s.item)), 16, '0') AS span_id,
           coalesce(s.given,
                    pg_catalog.lpad(pg_catalog.to_hex(('x' || pg_catalog.right(replace(s.parent_run_id::text, '-', ''), 16))::bit(64)::bigint
                                                      # ((s.parent_n::bigint << 32) | s.parent_item)), 16, '0'), '') AS parent_span_id
    FROM spans s
)
SELECT pg_catalog.jsonb_build_object('resourceSpans', pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
    'resource', pg_catalog.jsonb_build_object('attributes', pg_catalog.jsonb_build_array(
        pg_catalog.jsonb_build_object('key', 'service.name', 'value', pg_catalog.jsonb_build_object('stringValue', 'pg_workflow')),
        pg_catalog.jsonb_build_object('key', 'db.system', 'value', pg_catalog.jsonb_build_object('stringValue', 'postgresql')),
        pg_catalog.jsonb_build_object('key', 'db.name', 'value', pg_catalog.jsonb_build_object('stringValue', pg_catalog.current_database())))),
    'scopeSpans', pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
        'scope', pg_catalog.jsonb_build_object('name', 'pg_workflow', 'version', $3),
        'spans', pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
            'traceId', (SELECT t.id FROM trace t),
            'spanId', n.span_id,
            'parentSpanId', n.parent_span_id,
            'name', n.name,
            'kind', 1,
            'startTimeUnixNano', (extract(epoch FROM n.started_at) * 1000000000)::bigint::text,
            'endTimeUnixNano', (extract(epoch FROM greatest(coalesce(n.finished_at, $2), n.started_at)) * 1000000000)::bigint::text,
            'attributes', (SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('key', a.key, 'value',
                               CASE pg_catalog.jsonb_typeof(a.value)
                                    WHEN 'number' THEN pg_catalog.jsonb_build_object('intValue', a.value::text)
                                    ELSE pg_catalog.jsonb_build_object('stringValue', a.value#>>'{}') END) ORDER BY a.key)
                           FROM pg_catalog.jsonb_each(pg_catalog.jsonb_strip_nulls(n.attributes)) AS a),
            'events', (SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                               'timeUnixNano', (extract(epoch FROM l.at) * 1000000000)::bigint::text,
                               'name', l.severity,
                               'attributes', pg_catalog.jsonb_build_array(
                                   pg_catalog.jsonb_build_object('key', 'message', 'value', pg_catalog.jsonb_build_object('stringValue', l.message)),
                                   pg_catalog.jsonb_build_object('key', 'attempt', 'value', pg_catalog.jsonb_build_object('intValue', l.attempt::text))))
                           ORDER BY l.seq), '[]')
                       FROM wf_internal.logs l WHERE l.run_id = n.run_id AND l.n = n.n AND l.item = n.item AND n.n > 0),
            'status', CASE WHEN n.status IN ('failed', 'cancelled')
                           THEN pg_catalog.jsonb_build_object('code', 2, 'message', coalesce(n.error, n.status))
                           WHEN n.status IN ('completed', 'continued') THEN '{"code": 1}'
                           ELSE '{}' END)
            ORDER BY n.started_at, n.run_id, n.n, n.item))))))
FROM numbered n
