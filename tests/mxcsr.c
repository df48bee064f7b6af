/* mxcsr.c -- loading the library must leave the floating-point modes of the process alone: linking
 * with -ffast-math, for one, would set flush-to-zero for everybody.   mxcsr LIBRARY */
#include <dlfcn.h>
#include <stdio.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

int main(int argc, char **argv)
{
#ifdef __SSE__
	unsigned before = _mm_getcsr();
	void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
	if (!library) {
		fprintf(stderr, "cannot load it: %s\n", dlerror());
		return 1;
	}
	unsigned after = _mm_getcsr();
	printf("mxcsr %04x, with the library %04x\n", before, after);
	return before != after;
#else
	(void)argc, (void)argv;
	return 0;
#endif
}
