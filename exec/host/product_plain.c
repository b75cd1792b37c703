/* Matrix products without a library. */
#include "costmodel/base.h"
