-- What has become of the runs of a rehearsal. $1 run ids in order of their starts, $2 run_id of the one that was asked for,
-- $3 beginning, $4 present, $5 what was not used of the script
WITH traces AS (
    SELECT r.run_id, r.id,
           pg_catalog.jsonb_build_object(
               'workflow', d.workflow, 'status', r.status,
               'steps', coalesce((SELECT pg_catalog.jsonb_agg(
                                             pg_catalog.jsonb_build_object('name', s.name, 'kind', s.kind, 'status', s.status,
                                                                           'attempt', s.attempt, 'at', (s.started_at - $3)::text)
                                             || CASE WHEN s.error IS NOT NULL THEN pg_catalog.jsonb_build_object('error', s.error)
                                                     WHEN s.result IS NOT NULL THEN pg_catalog.jsonb_build_object('result', s.result)
                                                     ELSE '{}' END
                                             ORDER BY s.n)
                                  FROM wf_internal.steps s WHERE s.run_id = r.run_id), '[]'),
               'values', coalesce((SELECT pg_catalog.jsonb_object_agg(s.name, s.result ORDER BY s.n)
                                   FROM wf_internal.steps s WHERE s.run_id = r.run_id AND s.kind = 'set'), '{}'),
               'streams', coalesce((SELECT pg_catalog.jsonb_object_agg(e.name, e.emitted)
                                    FROM (SELECT s.name, pg_catalog.jsonb_agg(s.result ORDER BY s.n) AS emitted
                                          FROM wf_internal.steps s WHERE s.run_id = r.run_id AND s.kind = 'emit'
                                          GROUP BY s.name) e), '{}'))
           || CASE WHEN r.error IS NOT NULL THEN pg_catalog.jsonb_build_object('error', r.error)
                   WHEN r.finished_at IS NOT NULL THEN pg_catalog.jsonb_build_object('result', r.result)
                   ELSE pg_catalog.jsonb_build_object('waiting_for', r.waiting_for) END AS trace
    FROM wf_internal.runs r
    JOIN wf_internal.definitions d USING (def_id)
    WHERE r.run_id = ANY ($1)
)
SELECT t.trace || pg_catalog.jsonb_build_object(
           'took', ($4 - $3)::text, 'unused', $5,
           'started', coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('id', o.id) || o.trace
                                                            ORDER BY pg_catalog.array_position($1, o.run_id))
                                FROM traces o WHERE o.run_id <> $2), '[]'))
FROM traces t
WHERE t.run_id = $2
