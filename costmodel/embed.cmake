# pp_embed(target symbol file...): compiles data files into `target` as
#   struct pp_embedded_file { const char *name; const char *text; };  symbol[] ends with a NULL name.
# The program then runs from anywhere, and the files stay readable data in the source tree.
function(pp_embed target symbol)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c)
  set(stamp "")
  foreach(file ${ARGN})
    list(APPEND stamp ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  endforeach()
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DSYMBOL=${symbol} "-DFILES=${stamp}"
            -P ${PROJECT_SOURCE_DIR}/costmodel/embed_write.cmake
    DEPENDS ${stamp} ${PROJECT_SOURCE_DIR}/costmodel/embed_write.cmake
    VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
