-- $1 the next is due
UPDATE wf_internal.sweeps s SET next_at = $1
