// What is compiled once of work on documents.
