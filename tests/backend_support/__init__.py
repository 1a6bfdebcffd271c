"""What the tests of back ends share."""
