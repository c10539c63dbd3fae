"""Decisions: functions of plain data, `now` and a random number. No clock, loop, thread, logger or I/O in here."""
