#!/bin/sh
# Writes a C file that holds a file's bytes: embed.sh SYMBOL INPUT > OUTPUT.c
set -eu
printf '#include <stddef.h>\n#include <stdint.h>\n\nextern const uint8_t %s[];\nextern const size_t %s_size;\nconst uint8_t %s[] = {\n' "$1" "$1" "$1"
od -An -v -tx1 "$2" | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'
printf '};\nconst size_t %s_size = sizeof %s;\n' "$1" "$1"
