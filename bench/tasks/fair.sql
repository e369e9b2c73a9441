-- The queue is locked until this commits: claims are numbered in their order.
INSERT INTO claims (tenant) SELECT (input->>'tenant')::integer FROM wf_poll('fair', max => 10) WHERE wf_complete(task, 'true');
