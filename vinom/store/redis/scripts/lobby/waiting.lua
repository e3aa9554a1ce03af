return count(ARGV[4])
