-- SQLite compares keys byte by byte already; PostgreSQL learns it here.
SELECT 1;
