/* fail_new.c -- for LD_PRELOAD: from the PAI_FAIL_NEW-th on (1, 2, ...), memory that C++ asks for
 * is not there. A request is C++'s when it comes from libstdc++, that is from operator new. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

extern void *__libc_malloc(size_t n);

static int asked_by_new(const void *caller)
{
	Dl_info info;
	return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "libstdc++");
}

void *malloc(size_t n)
{
	static atomic_long calls;
	static long fail_at = -1;
	if (fail_at < 0) {
		const char *text = getenv("PAI_FAIL_NEW");
		fail_at = text ? atol(text) : 0;
	}
	if (fail_at && asked_by_new(__builtin_return_address(0)) && ++calls >= fail_at) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_malloc(n);
}
