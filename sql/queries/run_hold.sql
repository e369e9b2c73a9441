-- Keeps the last run of a line from being purged while another is started behind it. $1 run_id
SELECT true FROM wf_internal.runs r WHERE r.run_id = $1 FOR KEY SHARE
