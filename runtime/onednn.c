/* onednn.c -- everything that is said to oneDNN; no other file includes its header. Speaks the C
 * interfaces of 2.6 and of 3.x. */
#include "runtime/runtime.h"
#include <dnnl.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *pai_onednn_version(void)
{
	return TEXT(DNNL_VERSION_MAJOR) "." TEXT(DNNL_VERSION_MINOR) "." TEXT(DNNL_VERSION_PATCH);
}
