"""Property tests of the rewrite rules: random instances, the harness that judges a rule, and rules that are wrong."""
