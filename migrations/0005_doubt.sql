-- Since when the completion of an upload may be under way in the store without anybody waiting for it: NULL for most.
ALTER TABLE uploads ADD COLUMN doubtful_since TEXT NULL;
