/* Matrix products by OpenBLAS. */
#include <cblas.h>
