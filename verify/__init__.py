"""What is measured and judged: random problems, order fits, verdicts, reports, the command line."""
