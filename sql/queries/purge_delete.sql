-- Removes locked runs with all that belongs to them; how many. Looks once more at their neighbours: nobody can start another
-- run behind a locked one now, but may have done so just before. The last run of an id goes when none but the first is left,
-- and takes it along. $1 run ids
WITH locked AS MATERIALIZED (
    SELECT r.run_id, r.id, r.seq,
           (SELECT l.seq FROM wf_internal.runs l WHERE l.id = r.id ORDER BY l.seq DESC LIMIT 1) AS last,
           (SELECT l.seq FROM wf_internal.runs l WHERE l.id = r.id AND l.seq > 1 ORDER BY l.seq LIMIT 1) AS second
    FROM wf_internal.runs r
    WHERE r.run_id = ANY ($1)
), gone AS MATERIALIZED (
    SELECT k.run_id FROM locked k
    WHERE (k.seq > 1 AND k.seq < k.last) OR coalesce(k.second, k.seq) = k.seq
    UNION ALL
    SELECT r.run_id FROM locked k JOIN wf_internal.runs r ON r.id = k.id AND r.seq = 1
    WHERE k.seq > 1 AND k.seq = k.last AND k.seq = k.second
), steps AS (
    DELETE FROM wf_internal.steps s USING gone g WHERE s.run_id = g.run_id
), branches AS (
    DELETE FROM wf_internal.branches b USING gone g WHERE b.run_id = g.run_id
), answers AS (
    DELETE FROM wf_internal.answers a USING gone g WHERE a.run_id = g.run_id
), signals AS (
    DELETE FROM wf_internal.signals s USING gone g WHERE s.run_id = g.run_id
), controls AS (
    DELETE FROM wf_internal.controls c USING gone g WHERE c.run_id = g.run_id
), tasks AS (
    DELETE FROM wf_internal.tasks t USING gone g WHERE t.run_id = g.run_id
    RETURNING t.queue_id, t.priority, t.key, t.seq, t.finished_at
), task_queue AS (
    DELETE FROM wf_internal.task_queue q USING tasks t
    WHERE t.finished_at IS NULL AND q.queue_id = t.queue_id AND q.running IN (true, false) AND NOT q.inside
      AND q.priority = t.priority AND q.key = t.key AND q.seq = t.seq
), units AS (
    DELETE FROM wf_internal.task_queue q USING gone g WHERE q.inside AND q.run_id = g.run_id
), joined AS (
    DELETE FROM wf_internal.joined j USING gone g WHERE j.run_id = g.run_id
), logs AS (
    DELETE FROM wf_internal.logs l USING gone g WHERE l.run_id = g.run_id
), waits AS (
    DELETE FROM wf_internal.waits w USING gone g WHERE w.run_id = g.run_id
), runs AS (
    DELETE FROM wf_internal.runs r USING gone g WHERE r.run_id = g.run_id RETURNING true
)
SELECT pg_catalog.count(*)::integer FROM runs
