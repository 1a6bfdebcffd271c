"""SMT proofs of rules, made from the very text that the engine runs."""
