SELECT coalesce(jsonb_agg(jsonb_build_object('task', task, 'result', true)), '[]') AS tasks FROM wf_poll('bench', max => :max) \gset
SELECT count(*) FROM wf_complete(:tasks::jsonb);
