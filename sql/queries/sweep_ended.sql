-- A sweep has come to its end. $1 when, $2 the next is due
INSERT INTO wf_internal.sweeps AS s (swept_at, next_at, removed, last_removed) VALUES ($1, $2, 0, 0)
ON CONFLICT (only_row) DO UPDATE SET swept_at = excluded.swept_at, next_at = excluded.next_at
