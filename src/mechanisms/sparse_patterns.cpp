// What is compiled once of static patterns.
