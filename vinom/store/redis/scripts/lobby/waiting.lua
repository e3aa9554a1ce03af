-- Count the players of a queue: queue
return count(ARGV[4])
