local _, found = read('party', ARGV[4])
return found
