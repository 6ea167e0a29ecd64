# SPDX-License-Identifier: Apache-2.0
# Turns Lua files into C string constants: lua_<file>[]. Comments and blank lines stay behind.
FNR == 1 {
	if (NR > 1)
		print ";"
	name = FILENAME
	sub(/.*\//, "", name)
	sub(/\.lua$/, "", name)
	printf "static const char lua_%s[] =\n", name
	print "\t\"\""
}
/^[ \t]*--/ || /^[ \t]*$/ { next }
{
	gsub(/\\/, "\\\\")
	gsub(/"/, "\\\"")
	sub(/^[ \t]+/, "")
	printf "\t\"%s\\n\"\n", $0
}
END { print ";" }
