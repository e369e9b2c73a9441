-- The call that has ended a run by its failure, if it has this name (NULL: any). $1 run_id, $2 name
SELECT l.n, l.kind, l.name
FROM (SELECT s.n, s.kind, s.name, s.status FROM wf_internal.steps s
      WHERE s.run_id = $1 AND s.kind NOT IN ('value', 'set', 'emit', 'compensation')
        AND NOT (s.status = 'cancelled' AND s.error->>'sqlstate' IS DISTINCT FROM 'WF002')
      ORDER BY s.n DESC
      LIMIT 1) AS l
WHERE l.status IN ('failed', 'cancelled') AND ($2 IS NULL OR l.name = $2)
