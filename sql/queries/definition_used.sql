-- Has a definition a run? It is likely to be soon behind the first start on it; runs that were begun before it are those that
-- were upgraded. $1 def_id, $2 least run id of the time of its first start
SELECT EXISTS (SELECT FROM wf_internal.runs r WHERE r.run_id >= $2 AND r.def_id = $1)
    OR EXISTS (SELECT FROM wf_internal.runs r WHERE r.run_id < $2 AND r.def_id = $1)
