CALL wf_poll('rated', '5 s', NULL, max => 10) \gset
SELECT count(*) FROM wf_complete((SELECT coalesce(jsonb_agg(jsonb_build_object('task', t->'task', 'result', true)), '[]')
                                  FROM jsonb_array_elements(:result::jsonb) AS t));
