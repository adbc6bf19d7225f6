"""What the papers state: update rules, memory sums as printed, closed forms, claims and their wrong variants."""
