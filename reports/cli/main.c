#include "costmodel/base.h"

#include <stdio.h>

int main(void) {
    printf("pipeplan %s\n", PP_VERSION);
    return 0;
}
