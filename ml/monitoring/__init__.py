"""What is measured after a version serves: drift, live error, checks."""
