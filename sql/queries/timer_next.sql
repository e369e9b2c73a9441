SELECT t.due_at FROM wf_internal.timers t ORDER BY t.due_at LIMIT 1
