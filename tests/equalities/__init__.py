"""A judge of claimed equalities of tensor programs: ``python -m tests.equalities FILE.tsv`` prints its verdicts."""
