"""What is looked at after a version serves: drift, live error, checks."""
