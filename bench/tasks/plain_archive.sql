SELECT coalesce(array_agg(msg_id), '{}') AS ids FROM plain.read('1 minute', :max) \gset
SELECT plain.archive(:ids::bigint[]);
