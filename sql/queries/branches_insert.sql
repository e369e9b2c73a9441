-- The items of a call. $1 run_id, $2 n, $3 items as an array
INSERT INTO wf_internal.branches (run_id, n, item, attempt, status, input)
SELECT $1, $2, e.item::integer, 0, 'pending', e.value
FROM pg_catalog.jsonb_array_elements($3) WITH ORDINALITY AS e(value, item)
