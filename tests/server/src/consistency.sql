-- What must not be there while nobody is at work: a row a finding. For any database, whatever ran in it before.
SELECT 'hint of nothing in ready: ' || (q.run_id, q.n, q.item)::text
FROM wf_internal.ready q
UNION ALL
SELECT 'open run without anything that wakes it: ' || r.id || ', ' || r.status || ', ' || coalesce(r.waiting_for, '-')
FROM wf_internal.runs r
WHERE r.finished_at IS NULL
  AND NOT EXISTS (SELECT FROM wf_internal.ready q WHERE q.run_id = r.run_id)
  AND NOT EXISTS (SELECT FROM wf_internal.parked k WHERE k.run_id = r.run_id)
  AND NOT EXISTS (SELECT FROM wf_internal.timers t WHERE t.run_id = r.run_id AND t.n <> 0)
  AND NOT EXISTS (SELECT FROM wf_internal.task_queue q WHERE q.run_id = r.run_id)
  AND NOT EXISTS (SELECT FROM wf_internal.tasks t WHERE t.run_id = r.run_id AND t.finished_at IS NULL)
  AND NOT EXISTS (SELECT FROM wf_internal.waits w WHERE w.run_id = r.run_id)
  AND NOT EXISTS (SELECT FROM wf_internal.runs c WHERE c.parent_run_id = r.run_id AND c.finished_at IS NULL)
  AND NOT EXISTS (SELECT FROM wf_internal.branches b WHERE b.run_id = r.run_id AND b.status = 'running')
UNION ALL
SELECT 'two open runs of one id: ' || r.id
FROM wf_internal.runs r WHERE r.finished_at IS NULL GROUP BY r.id HAVING count(*) > 1
UNION ALL
SELECT 'gap in a history: ' || r.id
FROM wf_internal.steps s JOIN wf_internal.runs r USING (run_id) GROUP BY r.run_id, r.id HAVING count(*) <> max(s.n) OR min(s.n) <> 1
UNION ALL
SELECT 'one call twice: ' || r.id || ', ' || s.kind || ' ' || s.name || ' ' || s.occurrence
FROM wf_internal.steps s JOIN wf_internal.runs r USING (run_id)
GROUP BY r.run_id, r.id, s.kind, s.name, s.occurrence HAVING count(*) > 1
UNION ALL
SELECT 'status and end of a run differ: ' || r.id || ', ' || r.status
FROM wf_internal.runs r
WHERE (r.finished_at IS NOT NULL) <> (r.status IN ('completed', 'failed', 'cancelled', 'continued'))
UNION ALL
SELECT 'status and end of a call differ: ' || r.id || ', ' || s.name || ', ' || s.status
FROM wf_internal.steps s JOIN wf_internal.runs r USING (run_id)
WHERE s.finished_at IS NULL AND s.status IN ('completed', 'failed', 'cancelled')
   OR s.finished_at IS NOT NULL AND s.status IN ('waiting', 'retrying')
UNION ALL
SELECT 'left of a run that has ended, in ' || x.place || ': ' || r.id || ', ' || r.status
FROM (SELECT 'steps', s.run_id FROM wf_internal.steps s WHERE s.status IN ('waiting', 'retrying')
      UNION ALL SELECT 'timers', t.run_id FROM wf_internal.timers t
      UNION ALL SELECT 'waits', w.run_id FROM wf_internal.waits w
      UNION ALL SELECT 'commands', c.run_id FROM wf_internal.commands c
      UNION ALL SELECT 'answers', a.run_id FROM wf_internal.answers a
      UNION ALL SELECT 'controls', c.run_id FROM wf_internal.controls c
      UNION ALL SELECT 'tasks', t.run_id FROM wf_internal.tasks t WHERE t.finished_at IS NULL
      UNION ALL SELECT 'task_queue', q.run_id FROM wf_internal.task_queue q
      UNION ALL SELECT 'dedup', d.run_id FROM wf_internal.dedup d
      UNION ALL SELECT 'joined', j.run_id FROM wf_internal.joined j
      UNION ALL SELECT 'pauses', p.run_id FROM wf_internal.pauses p
      UNION ALL SELECT 'parked', k.run_id FROM wf_internal.parked k) AS x(place, run_id)
JOIN wf_internal.runs r USING (run_id)
WHERE r.finished_at IS NOT NULL
UNION ALL
SELECT 'of no run, in ' || x.place || ': ' || x.run_id
FROM (SELECT 'steps', s.run_id FROM wf_internal.steps s
      UNION ALL SELECT 'branches', b.run_id FROM wf_internal.branches b
      UNION ALL SELECT 'signals', g.run_id FROM wf_internal.signals g
      UNION ALL SELECT 'timers', t.run_id FROM wf_internal.timers t
      UNION ALL SELECT 'tasks', t.run_id FROM wf_internal.tasks t) AS x(place, run_id)
WHERE NOT EXISTS (SELECT FROM wf_internal.runs r WHERE r.run_id = x.run_id)
  AND NOT EXISTS (SELECT FROM wf_internal.schedules s WHERE s.schedule_id = x.run_id)
  AND NOT EXISTS (SELECT FROM wf_internal.queues u WHERE lpad(to_hex(u.queue_id), 32, '0')::uuid = x.run_id)
UNION ALL
SELECT 'branch that runs without a command: ' || b.run_id || ', ' || b.n
FROM wf_internal.branches b
WHERE b.status = 'running' AND NOT EXISTS (SELECT FROM wf_internal.commands c WHERE (c.run_id, c.n, c.item) = (b.run_id, b.n, b.item))
