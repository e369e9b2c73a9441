-- Results of a map in the order of its items: as they are, or with $3 each with how it went. $1 run_id, $2 n
SELECT coalesce(pg_catalog.jsonb_agg(
           CASE WHEN NOT $3 THEN b.result
                WHEN b.status = 'completed' THEN pg_catalog.jsonb_build_object('ok', true, 'result', b.result)
                ELSE pg_catalog.jsonb_build_object('ok', false, 'error', b.error) END
           ORDER BY b.item), '[]')
FROM wf_internal.branches b WHERE b.run_id = $1 AND b.n = $2
