-- Runs that have a hint, also one that is parked.
SELECT q.run_id FROM wf_internal.ready q
UNION ALL
SELECT p.run_id FROM wf_internal.parked p
