// What is compiled once of graphs and content patterns.
