"""What people see from outside: logs, metrics, spans, probes. It observes and changes nothing."""
