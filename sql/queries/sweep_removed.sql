-- A part of a sweep; the first one counts from zero. $1 removed, $2 it is the first part
INSERT INTO wf_internal.sweeps AS s (removed, last_removed) VALUES ($1, $1)
ON CONFLICT (only_row) DO UPDATE
SET removed = s.removed + excluded.removed,
    last_removed = CASE WHEN $2 THEN excluded.last_removed ELSE s.last_removed + excluded.last_removed END
