# Writes OUT: FILES as C byte arrays, and the table SYMBOL that names them. See embed.cmake.
set(arrays "")
set(rows "")
set(n 0)
foreach(file ${FILES})
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "static const char file_${n}[] = {${bytes}0};\n")
  string(APPEND rows "    {\"${name}\", file_${n}},\n")
  math(EXPR n "${n} + 1")
endforeach()
file(WRITE ${OUT} "#include \"costmodel/embedded.h\"\n${arrays}
const struct pp_embedded_file ${SYMBOL}[] = {\n${rows}    {0, 0},\n};\n")
