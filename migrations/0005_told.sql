-- When an upload was told to complete: from then on its parts may be an object's. NULL before.
ALTER TABLE uploads ADD COLUMN told_at TEXT NULL;
