"""What is wrong with a deployment, told before anything runs: each check looks at one thing and says what to do."""
