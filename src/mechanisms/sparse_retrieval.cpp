// What is compiled once of retrieval of keys.
