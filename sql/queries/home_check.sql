-- NULL if nobody is at home yet.
SELECT wf_internal.is_home() WHERE EXISTS (SELECT FROM wf_internal.home)
